"""Summary of a run -> rows of the score table: each score with its spread and an explanation. It only formats scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One row of the score table."""

    name: str
    value: float | None
    note: str
    kind: str
    """``main``, ``ablation`` (a model of one modality) or ``baseline`` (no learned representation)."""
    std: float | None = None
    interval: tuple[float, float] | None = None
    """Bootstrap confidence interval over recordings; only where the summary has one."""
    folds: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class DifferenceRow:
    """A difference of two models on the same frames."""

    name: str
    value: float
    interval: tuple[float, float] | None
    """Paired bootstrap confidence interval over recordings."""


@dataclass(frozen=True, kw_only=True)
class SearchRow:
    """Scores of one search on folds of Train_Set, or of the chosen candidate on those of ``cv``; pooled over the folds."""

    name: str
    in_sample: float | None
    cross_fitted: float
    interval: tuple[float, float] | None
    """Of ``cross_fitted``."""
    optimism: float | None
    """``in_sample`` minus ``cross_fitted``."""
    validation: float | None
    """Score of the chosen model on Validation_Set."""
    interval_in_sample: tuple[float, float] | None = None
    interval_validation: tuple[float, float] | None = None
    interval_optimism: tuple[float, float] | None = None
    """Paired: both scores on the same resampled recordings."""


_ROWS = (
    (
        ("official_val", "macro_f1"),
        "Official validation",
        "main",
        "The fusion model trained on Train_Set alone; settings and smoothing selected by cross-validation on Train_Set.",
    ),
    (
        ("official_val", "macro_f1_unshared"),
        "Official validation, new recordings only",
        "main",
        "The same model, scored on recordings without a subject in Train_Set: the official split shares some recordings.",
    ),
    (
        ("cv", "macro_f1_mean"),
        "Five folds, mean",
        "main",
        "Cross-validation over training and validation videos, grouped by recording; epochs, temperature, smoothing and bias are selected "
        "on the other folds. Dots: the folds.",
    ),
    (
        ("cv", "macro_f1"),
        "Five folds, pooled",
        "main",
        "The same models, over the frames of all folds together: the interval is that of this score.",
    ),
    (
        ("cv", "repeats", "mean"),
        "Repeated folds, mean",
        "main",
        "The mean over folds for several assignments of folds; the standard deviation is that between assignments.",
    ),
    (
        ("visual_only", "macro_f1"),
        "Face only",
        "ablation",
        "A separate model of the visual features alone, scored on the official validation videos.",
    ),
    (
        ("audio_only", "macro_f1"),
        "Audio only",
        "ablation",
        "A separate model of the speech features alone, scored on the official validation videos.",
    ),
    (
        ("baselines", "pixels", "macro_f1"),
        "Raw pixels",
        "baseline",
        "Logistic regression on the pixels of the face crop: a baseline without a learned visual encoder.",
    ),
    (
        ("baselines", "pitch_energy", "macro_f1"),
        "Pitch and energy",
        "baseline",
        "Logistic regression on mean pitch and energy: a baseline without a learned speech encoder.",
    ),
    (("chance_macro_f1",), "Chance", "baseline", "Random predictions with the class frequencies of Train_Set. The dashed line in every bar."),
)
_OPTIONAL = {("official_val", "macro_f1_unshared"), ("cv", "macro_f1"), ("cv", "repeats", "mean")}
DIFFERENCES = {
    "visual": "face only",
    "speech": "audio only",
    "official_unsmoothed": "the same model without smoothing",
    "official_without_audio": "the same model with audio masked",
    "official_without_faces": "the same model with faces masked",
}
"""Text for the model that is subtracted from the official one, by its key in the summary."""
_SEARCHES = {"fused": "Face and audio", "visual": "Face only", "speech": "Audio only"}


def finite_or_none(value: object) -> float | None:
    """The value as a float if it is a finite number, else None (missing, null, NaN)."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) else None


def get_path(summary: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value at a path of keys; None where a key is missing."""
    value: Any = summary
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def score_rows(summary: Mapping[str, Any]) -> list[ScoreRow]:
    """All rows in order; a score that the run did not measure has ``value`` None, and the page says so."""
    rows = []
    for path, name, kind, note in _ROWS:
        value = finite_or_none(get_path(summary, path))
        if value is None and path in _OPTIONAL:
            continue
        parent = get_path(summary, path[:-1]) if len(path) > 1 else {}
        rows.append(ScoreRow(name=name, value=value, note=note, kind=kind, **_spread(parent if isinstance(parent, Mapping) else {}, path[-1])))
    return rows


def difference_rows(summary: Mapping[str, Any]) -> list[DifferenceRow]:
    """Differences of the official model from the others on the same frames, those that the run measured."""
    rows = []
    for key, other in DIFFERENCES.items():
        value = finite_or_none(get_path(summary, ("differences", key, "macro_f1")))
        if value is not None:
            interval = _interval(get_path(summary, ("differences", key, "interval")))
            rows.append(DifferenceRow(name=f"Official validation minus {other}", value=value, interval=interval))
    return rows


def search_rows(summary: Mapping[str, Any]) -> list[SearchRow]:
    """Scores of the searches, those that the run made, and then those of the candidate that the fused one chose, on the folds of ``cv``."""
    rows = [_search_row(name, get_path(summary, ("searches", mode))) for mode, name in _SEARCHES.items()]
    cv = get_path(summary, ("cv",))
    if isinstance(cv, Mapping) and rows[0]:  # the row of the fused search
        pooled = {"in_sample": cv.get("macro_f1_in_sample"), "cross_fitted": cv.get("macro_f1")}
        rows.append(_search_row("Face and audio, chosen as above, on five folds of train and validation", {**cv, **pooled}))
    return [row for row in rows if row]


def _search_row(name: str, scores: Any) -> SearchRow | None:
    """None where there is no cross-fitted score."""
    if not isinstance(scores, Mapping) or (cross_fitted := finite_or_none(scores.get("cross_fitted"))) is None:
        return None
    return SearchRow(
        name=name,
        in_sample=finite_or_none(scores.get("in_sample")),
        cross_fitted=cross_fitted,
        interval=_interval(scores.get("interval")),
        optimism=finite_or_none(scores.get("optimism")),
        validation=finite_or_none(get_path(scores, ("validation", "macro_f1"))),
        interval_in_sample=_interval(scores.get("interval_in_sample")),
        interval_validation=_interval(get_path(scores, ("validation", "interval"))),
        interval_optimism=_interval(scores.get("interval_optimism")),
    )


def _spread(parent: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Standard deviation and folds, or the confidence interval, of a score."""
    if key == "macro_f1_mean":
        folds = [fold for fold in map(finite_or_none, parent.get("folds") or ()) if fold is not None]
        return {"std": finite_or_none(parent.get("macro_f1_std")), "folds": folds}
    if key == "mean":
        return {
            "std": finite_or_none(parent.get("std")),
            "folds": [value for value in map(finite_or_none, parent.get("macro_f1") or ()) if value is not None],
        }
    return {"interval": _interval(parent.get(key.replace("macro_f1", "interval", 1)))}


def _interval(value: Any) -> tuple[float, float] | None:
    ends = [finite_or_none(end) for end in value] if isinstance(value, Sequence) else []
    return (ends[0], ends[1]) if len(ends) == 2 and ends[0] is not None and ends[1] is not None else None
