"""What a report is made of: plain arrays and numbers of a finished run, checked for their shapes. How they look is the page's business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from abaw_ray.core.expressions import EXPRESSIONS


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """One person in one video, frame by frame; every frame of the track has its place, scored or not."""

    video: str
    track: str
    time: Float[np.ndarray, " frames"]
    """Presentation times in seconds, ascending."""
    predicted: Int[np.ndarray, " frames"]
    """Index into ``EXPRESSIONS``; -1 where the frame was not scored: the page leaves a gap there."""
    probability: Float[np.ndarray, "frames classes"]
    """As they were before the class was chosen, so smoothed; NaN where the frame was not scored."""
    seen: Bool[np.ndarray, " frames"]
    heard: Bool[np.ndarray, " frames"]
    label: Int[np.ndarray, " frames"] | None = None
    """What people said, -1 where nobody did; None for a video without annotation."""
    gate: Float[np.ndarray, " frames"] | None = None
    """Weight of the face against the voice in the fused features: 1 face only, 0 voice only, NaN where not scored."""
    first_frame: int = 1
    """Number of the first row's frame; a person who comes later begins later."""
    group: str = ""
    """Heading in the list of videos: ``validation``, ``test``, ..."""

    def __post_init__(self) -> None:
        """Refuse arrays that do not speak of the same frames."""
        frames = len(self.time)
        for name in ("predicted", "seen", "heard", "label", "gate"):
            given = getattr(self, name)
            if given is not None and given.shape != (frames,):
                raise ValueError(f"timeline {self.video}/{self.track}: {name} has shape {given.shape}, time has {frames} frames")
        if self.probability.shape != (frames, len(EXPRESSIONS)):
            raise ValueError(
                f"timeline {self.video}/{self.track}: probability has shape {self.probability.shape}, not ({frames}, {len(EXPRESSIONS)})"
            )


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often each true class was taken for each class."""

    name: str
    """Heading, for example ``Official validation``."""
    counts: Int[np.ndarray, "classes classes"]
    """Frames; rows are the truth, columns the prediction."""
    note: str = ""
    """One sentence: which model, which frames."""

    def __post_init__(self) -> None:
        """Refuse what is not a table of all classes."""
        if self.counts.shape != (len(EXPRESSIONS),) * 2:
            raise ValueError(f"confusion {self.name}: shape {self.counts.shape} is not {(len(EXPRESSIONS),) * 2}")


@dataclass(frozen=True, kw_only=True)
class SmoothingCurve:
    """Macro-F1 of the out-of-fold probabilities against the width of the smoothing window."""

    window: Float[np.ndarray, " widths"]
    """Seconds, whole width, ascending; 0 is no smoothing."""
    score: Float[np.ndarray, " widths"]
    """Mean over the folds."""
    folds: Float[np.ndarray, "folds widths"] | None = None
    chosen: float
    """The width that the final predictions use, seconds."""
    same: float | None = None
    """Score with the width chosen on the very folds that are scored: too kind to itself."""
    others: float | None = None
    """Score where each fold's width was chosen on the other folds: the honest one."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One choice of fusion settings that the sweep tried."""

    name: str
    settings: Mapping[str, Any]
    """By dotted path; the page shows those in which the trials differ."""
    score: float | None
    """Mean macro-F1 over the folds; None where the trial failed or was stopped."""
    std: float | None = None
    chosen: bool = False


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass of Stage I over its still images."""

    epoch: int
    loss: float
    """Mean training loss."""
    score: float | None = None
    """Macro-F1 on held-out still images, over the encoder's own classes."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """The file for the competition."""

    path: str
    rows: int
    filled: int
    """Rows that had to take their label from a neighbour or the most frequent class."""


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """Everything the page shows. What is left out is left out of the page; scores that are missing are shown as missing."""

    summary: Mapping[str, Any]
    """As in ``summary.json``."""
    title: str = "Facial expressions, frame by frame"
    run: str = ""
    """Which preset and seed, for the line under the title."""
    finished: str = ""
    notes: Sequence[str] = ()
    """What a reader must know before believing a number, for example that the videos were drawn."""
    confusions: Sequence[Confusion] = ()
    smoothing: SmoothingCurve | None = None
    trials: Sequence[Trial] = ()
    epochs: Sequence[Epoch] = ()
    timelines: Sequence[Timeline] = ()
    submission: Submission | None = None
    failures: Sequence[Mapping[str, Any]] = ()
    """``FAILURE`` rows of all stages."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Nested plain values; shown by dotted path."""
    versions: Mapping[str, str] = field(default_factory=dict)
