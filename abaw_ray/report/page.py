"""A finished run in, one HTML page out: it opens from a disk without any network, since its style, script and data are inside it.

Curves and bars are drawn here as SVG and plain elements; the timelines are drawn by ``timeline.js`` from compact bytes. The page states
a policy that forbids it to load anything. What the numbers are is computed elsewhere.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from abaw_ray import __version__
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import COLOURS, EXPRESSIONS
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.charts import Chart, Line, line_chart
from abaw_ray.report.inputs import Confusion, ReportInput
from abaw_ray.report.scores import find, number, score_rows
from abaw_ray.report.timelines import TimelineConfig, choose, pack
from abaw_ray.scoring.metrics import per_class_f1

_HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class PageConfig:
    """How much the page holds; the rest is in the tables of the run. All ours, not from the paper."""

    timelines: TimelineConfig = field(default_factory=TimelineConfig)
    trials: int = 30
    """Trials listed, best first."""
    failures: int = 200
    """Failures listed."""

    def __post_init__(self) -> None:
        """Refuse what would list nothing by mistake."""
        if min(self.trials, self.failures) < 1:
            raise ConfigError(f"report.trials={self.trials} and report.failures={self.failures} must be at least 1")


def write_report(target: Storage | Path, report: ReportInput, *, name: str = "report.html", config: PageConfig | None = None) -> str:
    """Write the page, all at once.

    Args:
        target: Where to: a storage, or a local folder.
        report: What it shows.
        name: Path of the page below the target.
        config: How much of it.

    Returns:
        The page's full address.

    Raises:
        StorageError: the target cannot be written.
    """
    storage = target if isinstance(target, Storage) else Storage(StorageConfig(uri=str(target)))
    storage.write_bytes(name, render(report, config).encode())
    return storage.uri(name)


def render(report: ReportInput, config: PageConfig | None = None) -> str:
    """The page as text; the same input gives the same text."""
    config = config or PageConfig()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"score": _score, "duration": _duration, "count": _count, "share": _share, "setting": _setting}
    shown = choose(report.timelines, config.timelines.videos)
    trials = sorted(report.trials, key=lambda trial: (number(trial.score) is None, -(number(trial.score) or 0.0)))
    return environment.get_template("page.html").render(
        report=report,
        css=Markup((_HERE / "page.css").read_text()),
        script=Markup((_HERE / "timeline.js").read_text()),
        version=__version__,
        expressions=EXPRESSIONS,
        colours=COLOURS,
        scores=score_rows(report.summary),
        chance=number(report.summary.get("chance_macro_f1")),
        classes=_class_rows(report),
        confusions=[_heat(confusion) for confusion in report.confusions],
        smoothing=_smoothing_chart(report),
        encoder=_encoder_charts(report),
        timelines=[pack(timeline, config.timelines) for timeline in shown],
        trials=trials[: config.trials],
        trial_columns=_varied(trials),
        stages=_stage_rows(report.summary),
        failures=list(report.failures)[: config.failures],
        settings=sorted(flat(report.settings).items()),
        submission_path=report.submission.path if report.submission else find(report.summary, ("submission",)),
    )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted path, as the command line takes them."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{path}.")
        else:
            found[path] = value
    return found


def _class_rows(report: ReportInput) -> list[dict[str, Any]]:
    """For each class its F1 in every confusion table, and how many frames show it; the summary's own F1 where no table was given."""
    columns = [(confusion.name, per_class_f1(confusion.counts), confusion.counts.sum(axis=1)) for confusion in report.confusions]
    if not columns and (given := find(report.summary, ("official_val", "per_class"))):
        columns = [("Official validation", given, [None] * len(EXPRESSIONS))]
    return [
        {"name": name, "bars": [{"of": of, "f1": number(f1[i]), "frames": count[i]} for of, f1, count in columns]}
        for i, name in enumerate(EXPRESSIONS)
        if columns
    ]


def _heat(confusion: Confusion) -> dict[str, Any]:
    """Counts with their share of the row; a class that never occurs has no shares."""
    total = confusion.counts.sum(axis=1)
    share = np.divide(confusion.counts, total[:, None], out=np.full(confusion.counts.shape, np.nan), where=total[:, None] > 0)
    return {
        "name": confusion.name,
        "note": confusion.note,
        "rows": [list(zip(*pair, strict=True)) for pair in zip(confusion.counts, share, strict=True)],
    }


def _smoothing_chart(report: ReportInput) -> Chart | None:
    curve = report.smoothing
    if curve is None:
        return None
    folds = [] if curve.folds is None else list(curve.folds)
    lines = [Line(name=f"fold {i}", x=curve.window, y=fold, style="quiet", dots=False) for i, fold in enumerate(folds, 1)]
    lines.append(Line(name="mean", x=curve.window, y=curve.score))
    mark = (curve.chosen, f"chosen: {curve.chosen:g} s")
    return line_chart("Macro-F1 against the window", lines, x_label="window, seconds", y_label="macro-F1", mark=mark)


def _encoder_charts(report: ReportInput) -> list[Chart]:
    epochs = np.array([epoch.epoch for epoch in report.epochs], float)
    wanted = {
        "Training loss": ("loss", [epoch.loss for epoch in report.epochs]),
        "Held-out macro-F1": ("macro-F1", [epoch.score for epoch in report.epochs]),
    }
    charts = [
        line_chart(title, [Line(name=title, x=epochs, y=np.array(values, float))], x_label="epoch", y_label=label, whole_x=True)
        for title, (label, values) in wanted.items()
    ]
    return [chart for chart in charts if chart is not None]


def _stage_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Stages with the keys that the table shows; whatever the summary does not say is None."""
    stages = find(summary, ("stages",)) or {}
    keys = ("seconds", "rows", "items", "failed")
    rows = [{"name": name, **{key: (stage or {}).get(key) for key in keys}} for name, stage in stages.items()]
    longest = max((number(row["seconds"]) or 0.0 for row in rows), default=0.0)
    return [row | {"part": (number(row["seconds"]) or 0.0) / longest if longest else 0.0} for row in rows]


def _varied(trials: list) -> list[str]:
    """The settings in which trials differ, in order."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    return [name for name in names if len({str(trial.settings.get(name)) for trial in trials}) > 1]


def _score(value: object) -> str:
    known = number(value)
    return "not measured" if known is None else f"{known:.3f}"


def _setting(value: object) -> object:
    """Numbers that were drawn have more digits than anybody reads."""
    return f"{value:.4g}" if isinstance(value, float) else value


def _share(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.0f}"


def _count(value: object) -> str:
    known = number(value)
    return "–" if known is None else f"{known:,.0f}"


def _duration(value: object) -> str:
    known = number(value)
    if known is None:
        return "–"
    minutes, seconds = divmod(round(known), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{known:.1f} s"
