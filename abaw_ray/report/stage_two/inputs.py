"""Content of the section about the sweep: its searches and their candidates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One candidate of a search; scores are macro-F1 on folds of Train_Set."""

    number: int
    """From 1, in the order of the proposals."""
    trial: int
    """From 1."""
    settings: Mapping[str, Any]
    """Settings by dotted path; the page shows those in which candidates differ."""
    curve: Sequence[float]
    """By epoch, of held-out frames without smoothing; it ends where the candidate was stopped."""
    stopped: bool = False
    """Whether it was stopped before the last epoch; it then has no other scores."""
    in_sample: float | None = None
    """With epochs, smoothing, temperature and bias chosen on the same folds."""
    cross_fitted: float | None = None
    """With all of these chosen on the other folds."""
    epochs: int | None = None
    """Number of epochs that was chosen."""
    chosen: bool = False
    """Whether it is the candidate that the final model is trained with."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search: of the fused model, or of a model of one modality."""

    name: str
    candidates: Sequence[Candidate]
    importance: Mapping[str, float] = field(default_factory=dict)
    """Importance of settings by dotted path, from 0 to 1; empty where too few candidates reached the last epoch."""
