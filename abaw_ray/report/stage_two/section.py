"""Searches of the sweep -> what the section's template shows: a table of all candidates, curves over epochs, and the importance of settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from abaw_ray.core.expressions import COLORS, EXPRESSIONS
from abaw_ray.report.charts import Chart, Series, line_chart
from abaw_ray.report.difference_axis import difference_axis
from abaw_ray.report.score_rows import finite_or_none, get_path
from abaw_ray.report.stage_two.inputs import Candidate, Search

MAX_CURVES = 60
"""Curves of a chart; of further candidates, those with the best epochs are drawn. Ours."""
MAX_CANDIDATES = 3_000
"""Rows of the table; of further candidates, the best are listed. Ours."""


@dataclass(frozen=True, kw_only=True)
class CandidateRow:
    """A row of the table."""

    search: str
    candidate: Candidate
    best: float | None
    """Macro-F1 of its best epoch, without smoothing."""
    settings: Sequence[str]
    """In the order of the section's columns; a dash for a setting that it does not have."""


@dataclass(frozen=True, kw_only=True)
class GainRow:
    """What audio adds to the F1 of a class."""

    name: str
    color: str
    gain: float
    interval: Sequence[float] | None
    left: float
    """Left end of the interval, in percent of the axis."""
    width: float
    at: float


@dataclass(frozen=True, kw_only=True)
class SweepSection:
    """Content of the section."""

    searches: Sequence[str]
    columns: Sequence[tuple[str, str]]
    """Short name and dotted path of each setting in which candidates differ."""
    rows: Sequence[CandidateRow]
    total: int
    """Number of candidates, also those that are not listed."""
    charts: Sequence[Chart]
    importance: Sequence[tuple[str, Sequence[tuple[str, float]]]]
    """Search -> settings with their importance, the largest first."""


def sweep_section(searches: Sequence[Search]) -> SweepSection | None:
    """The section; None without a candidate."""
    found = [(one, candidate) for one in searches for candidate in one.candidates]
    if not found:
        return None
    paths = _varying([candidate for _, candidate in found])
    rows = [
        CandidateRow(search=one.name, candidate=candidate, best=_best(candidate), settings=[_text(candidate.settings.get(path)) for path in paths])
        for one, candidate in sorted(found, key=lambda pair: (searches.index(pair[0]), *_order(pair[1])))
    ]
    charts = [chart for one in searches if (chart := _curves(one)) is not None]
    importance = [(one.name, sorted(one.importance.items(), key=lambda item: -item[1])) for one in searches if one.importance]
    return SweepSection(
        searches=[one.name for one in searches if one.candidates],
        columns=[(path.rpartition(".")[2].replace("_", " "), path) for path in paths],
        rows=rows[:MAX_CANDIDATES],
        total=len(rows),
        charts=charts,
        importance=importance,
    )


def gain_rows(summary: Mapping[str, Any]) -> tuple[list[GainRow], float]:
    """F1 of the fused model minus that of the model of the face alone, by class, and the end of their axis; nothing where it was not measured."""
    gains, intervals = get_path(summary, ("audio_gain", "per_class")), get_path(summary, ("audio_gain", "interval"))
    if not gains:
        return [], 0.0
    intervals = intervals or [None] * len(gains)
    shown = [value for gain, interval in zip(gains, intervals, strict=True) for value in (gain, *(interval or ()))]
    axis = difference_axis(shown, steps_per_unit=10)
    rows = []
    for name, gain, interval in zip(EXPRESSIONS, gains, intervals, strict=True):
        low, high = (axis.place(value) for value in interval or (gain, gain))
        rows.append(GainRow(name=name, color=COLORS[name], gain=gain, interval=interval, left=low, width=high - low, at=axis.place(gain)))
    return rows, axis.limit


def _order(candidate: Candidate) -> tuple[bool, float]:
    """Best first: by the in-sample score, then those that were stopped, by their best epoch."""
    score = finite_or_none(candidate.in_sample)
    return score is None, -(score if score is not None else _best(candidate) or 0.0)


def _best(candidate: Candidate) -> float | None:
    return max((score for score in candidate.curve if math.isfinite(score)), default=None)


def _varying(candidates: Sequence[Candidate]) -> list[str]:
    """Paths of the settings in which candidates differ, in order."""
    paths = list(dict.fromkeys(path for one in candidates for path in one.settings))
    return [path for path in paths if len({str(one.settings.get(path)) for one in candidates}) > 1]


def _text(value: object) -> str:
    """A setting for display; sampled floats are rounded to three digits."""
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _curves(search: Search) -> Chart | None:
    """Macro-F1 by epoch of the candidates: the chosen one strong, the others faint."""
    by_best = sorted(search.candidates, key=lambda one: -(_best(one) or 0.0))[:MAX_CURVES]
    chosen = next((one for one in search.candidates if one.chosen), None)
    drawn = [one for one in by_best if one is not chosen] + ([chosen] if chosen else [])
    lines = [
        Series(
            name=f"candidate {one.number}",
            x=np.arange(1.0, len(one.curve) + 1),
            y=np.array(one.curve, float),
            style="main" if one is chosen else "quiet",
            markers=one is chosen,
        )
        for one in drawn
        if len(one.curve)
    ]
    line = (float(chosen.epochs), f"used: {chosen.epochs} epochs") if chosen and chosen.epochs else None
    left_out = f", the best {MAX_CURVES} of {len(search.candidates)}" if len(search.candidates) > MAX_CURVES else ""
    title = f"{search.name}: macro-F1 by epoch{left_out}"
    return line_chart(title, lines, x_label="epoch", y_label="macro-F1", integer_x=True, vertical_line=line) if lines else None
