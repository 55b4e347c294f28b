"""The run's summary as the rows of the first table: each score with its spread and with what it means. Computes no score itself."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Score:
    """One macro-F1 and what it says."""

    name: str
    value: float | None
    note: str
    kind: str
    """``main``, ``part`` (a model of one modality) or ``floor`` (what needs no such model)."""
    std: float | None = None
    interval: tuple[float, float] | None = None
    """Where the score would lie had other videos been drawn; only where the summary gives one."""
    folds: Sequence[float] = ()


_ROWS = (
    (
        ("official_val", "macro_f1"),
        "Official validation",
        "main",
        "One model, trained on Train_Set alone; settings and smoothing were chosen on folds of Train_Set.",
    ),
    (
        ("official_val", "macro_f1_unshared"),
        "Official validation, new recordings only",
        "main",
        "The same model, without the frames whose recording is also in Train_Set: the official split shares some.",
    ),
    (
        ("cv", "macro_f1_mean"),
        "Five folds, mean",
        "main",
        "Training and validation videos together; no recording is in two folds, each fold is scored by a model that never saw it. Dots: the folds.",
    ),
    (("visual_only", "macro_f1"), "Face only", "part", "A model trained on the visual features alone, scored on the official validation videos."),
    (("audio_only", "macro_f1"), "Voice only", "part", "A model trained on the speech features alone, scored on the official validation videos."),
    (("baselines", "pixels"), "Raw pixels", "floor", "Logistic regression on the face's pixels: how far one gets without learning to see."),
    (
        ("baselines", "voice"),
        "Pitch and loudness",
        "floor",
        "Logistic regression on mean pitch and energy: how far one gets without learning to listen.",
    ),
    (("chance_macro_f1",), "Chance", "floor", "Guessing by class frequency. The dashed line in every bar."),
)
_OPTIONAL = {("official_val", "macro_f1_unshared")}


def number(value: object) -> float | None:
    """A finite number, or None for anything that is not one: missing, null, NaN."""
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) else None


def find(summary: Mapping[str, Any], path: Sequence[str]) -> Any:
    """The value at a path of keys; None where a part of it is missing or null."""
    value: Any = summary
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def score_rows(summary: Mapping[str, Any]) -> list[Score]:
    """All scores in their order; one that the run did not measure has ``value`` None and says so on the page."""
    rows = []
    for path, name, kind, note in _ROWS:
        value = number(find(summary, path))
        if value is None and path in _OPTIONAL:
            continue
        parent = find(summary, path[:-1]) if len(path) > 1 else {}
        rows.append(Score(name=name, value=value, note=note, kind=kind, **_spread(parent if isinstance(parent, Mapping) else {}, path[-1])))
    return rows


def _spread(parent: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What the summary says beside a score about how far to trust it."""
    if key == "macro_f1_mean":
        folds = [fold for fold in map(number, parent.get("folds") or ()) if fold is not None]
        return {"std": number(parent.get("macro_f1_std")), "folds": folds}
    ends = [number(end) for end in (parent.get("interval") or ()) if key == "macro_f1"]
    return {"interval": tuple(ends)} if len(ends) == 2 and None not in ends else {}
