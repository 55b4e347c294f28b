"""Renders the report of a finished run as one self-contained HTML page: style, script and data are inline, so it opens without a network.

Charts are inline SVG; ``timeline.js`` renders the timelines from encoded bytes. A content security policy forbids all requests. Metrics are
computed elsewhere, except F1 per class from the confusion matrices.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray import __version__
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import COLORS, EXPRESSIONS
from abaw_ray.core.settings import flatten
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.ablation.page import ABLATION_CSS, ablation_table
from abaw_ray.report.charts import STYLES, Chart, Series, line_chart
from abaw_ray.report.encoder import encoder_section
from abaw_ray.report.inputs import ConfusionMatrix, ReportInput
from abaw_ray.report.score_rows import difference_rows, finite_or_none, get_path, score_rows, search_rows
from abaw_ray.report.stage_two.section import gain_rows, sweep_section
from abaw_ray.report.timelines import TimelineConfig, encode_timeline, sample_timelines
from abaw_ray.report.web.html import BASE_CSS, SERIES_JS, content_policy, environment, read_inline, write_page
from abaw_ray.scoring.metrics import per_class_f1

_TEMPLATE_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """Limits on the content of the page; the tables of the run are complete. All defaults ours."""

    timelines: TimelineConfig = field(default_factory=TimelineConfig)
    max_failures: int = 200
    """Maximum number of failures listed."""

    def __post_init__(self) -> None:
        """Reject limits below 1."""
        if self.max_failures < 1:
            raise ConfigError(f"report.max_failures={self.max_failures} must be at least 1")


def write_report(target: Storage | Path, report: ReportInput, *, name: str = "report.html", config: PageConfig | None = None) -> str:
    """Write the page atomically.

    Args:
        target: A storage, or a local folder.
        report: Content of the page.
        name: Path of the page below the target.
        config: Limits on the content.

    Returns:
        Local path or URI of the page.

    Raises:
        StorageError: the target cannot be written.
    """
    return write_page(target, name, render(report, config))


def render(report: ReportInput, config: PageConfig | None = None) -> str:
    """HTML of the page; the same input gives the same text."""
    config = config or PageConfig()
    templates = environment(_TEMPLATE_FOLDER)
    templates.filters |= {"score": _score, "percent": _percent}
    script = read_inline(SERIES_JS, _TEMPLATE_FOLDER / "timeline.js", _TEMPLATE_FOLDER / "stage_two" / "sweep.js")
    shown = sample_timelines(report.timelines, config.timelines.max_timelines)
    gains, gain_limit = gain_rows(report.summary)
    return templates.get_template("page.html").render(
        report=report,
        css=read_inline(BASE_CSS, _TEMPLATE_FOLDER / "page.css", ABLATION_CSS),
        script=script,
        policy=content_policy(script),
        version=__version__,
        expressions=EXPRESSIONS,
        colors=COLORS,
        scores=score_rows(report.summary),
        differences=difference_rows(report.summary),
        searches=search_rows(report.summary),
        chance=finite_or_none(report.summary.get("chance_macro_f1")),
        classes=_class_rows(report),
        confusion_matrices=[_heatmap_rows(matrix) for matrix in report.confusion_matrices],
        smoothing=_smoothing_chart(report),
        encoder=encoder_section(report.encoder),
        timelines=[encode_timeline(timeline, config.timelines) for timeline in shown],
        gains=gains,
        gain_limit=gain_limit,
        sweep=sweep_section(report.searches),
        ablation=ablation_table(report.ablation) if report.ablation else None,
        stages=_stage_rows(report.summary),
        failures=list(report.failures)[: config.max_failures],
        settings=sorted(flatten(report.settings).items()),
        submission_path=report.submission.path if report.submission else get_path(report.summary, ("submission",)),
    )


def _class_rows(report: ReportInput) -> list[dict[str, Any]]:
    """For each class its F1 and its frame count in every confusion matrix; the F1 of the summary where no matrix is given."""
    without = [None] * len(EXPRESSIONS)
    columns = [
        (
            matrix.name,
            per_class_f1(matrix.counts),
            matrix.counts.sum(axis=1),
            without if matrix.f1_intervals is None else matrix.f1_intervals.tolist(),
        )
        for matrix in report.confusion_matrices
    ]
    if not columns and (given := get_path(report.summary, ("official_val", "per_class"))):
        columns = [("Official validation", given, without, without)]
    return [
        {
            "name": name,
            "bars": [
                {"evaluation": title, "f1": finite_or_none(f1[i]), "frames": count[i], "interval": intervals[i]}
                for title, f1, count, intervals in columns
            ],
        }
        for i, name in enumerate(EXPRESSIONS)
        if columns
    ]


def _heatmap_rows(matrix: ConfusionMatrix) -> dict[str, Any]:
    """Counts with their fraction of the row; NaN fractions for a class without annotated frames."""
    total = matrix.counts.sum(axis=1)
    share = np.divide(matrix.counts, total[:, None], out=np.full(matrix.counts.shape, np.nan), where=total[:, None] > 0)
    return {
        "name": matrix.name,
        "note": matrix.note,
        "rows": [list(zip(*pair, strict=True)) for pair in zip(matrix.counts, share, strict=True)],
    }


def _smoothing_chart(report: ReportInput) -> Chart | None:
    """Score by width on a logarithmic axis; no smoothing, which has no place on it, is a level line."""
    curve = report.smoothing
    if curve is None or not (wide := curve.window_s > 0).any():
        return None
    width = curve.window_s[wide]
    folds = [] if curve.folds is None else list(curve.folds)
    lines = [Series(name=f"fold {i}", x=width, y=fold[wide], style="quiet", markers=False) for i, fold in enumerate(folds, 1)]
    styles = [style for style in STYLES if style not in ("main", "fifth")]
    for (kind, scores), style in zip(curve.other_kinds.items(), styles, strict=False):
        lines.append(Series(name=kind, x=width, y=scores[wide], style=style, markers=False))
    lines += [Series(name="no smoothing", x=width, y=np.full(len(width), score), style="fifth", markers=False) for score in curve.score[~wide][:1]]
    lines.append(Series(name=curve.kind, x=width, y=curve.score[wide], markers=len(width) <= 20))
    selected = width == curve.selected_s
    lines.append(Series(name=f"selected: {curve.kind}", x=width[selected], y=curve.score[wide][selected], style="quiet"))
    mark = (curve.selected_s, f"selected: {curve.selected_s:g} s") if curve.selected_s else None
    title = "Macro-F1 of all folds pooled, by window width"
    return line_chart(title, lines, x_label="window width (s), logarithmic", y_label="macro-F1", vertical_line=mark, log_x=True)


def _stage_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of stages; None where the summary has no value. ``fraction``: of the longest wall time."""
    stages = get_path(summary, ("stages",)) or {}
    keys = ("seconds", "rows", "items", "failed")
    rows = [{"name": name, **{key: (stage or {}).get(key) for key in keys}} for name, stage in stages.items()]
    longest = max((finite_or_none(row["seconds"]) or 0.0 for row in rows), default=0.0)
    return [row | {"fraction": (finite_or_none(row["seconds"]) or 0.0) / longest if longest else 0.0} for row in rows]


def _score(value: object) -> str:
    finite = finite_or_none(value)
    return "not measured" if finite is None else f"{finite:.3f}"


def _percent(value: float) -> str:
    """Fraction in percent; empty for NaN."""
    return "" if math.isnan(value) else f"{100 * value:.0f}"
