"""Input of the report: arrays and numbers of a finished run; shapes are checked. ``page`` renders them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.report.ablation.rows import AblationRow
from abaw_ray.report.stage_two.inputs import Search


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Annotation, prediction and modalities of one subject in one video; every frame of the track has an entry, scored or not."""

    video: str
    track: str
    time: Float[np.ndarray, " frames"]
    """Presentation times in seconds, ascending."""
    predicted: Int[np.ndarray, " frames"]
    """Index into ``EXPRESSIONS``; -1 where the frame is not scored, which the page shows as a gap."""
    probability: Float[np.ndarray, "frames classes"]
    """Smoothed probabilities; NaN where the frame is not scored."""
    seen: Bool[np.ndarray, " frames"]
    heard: Bool[np.ndarray, " frames"]
    label: Int[np.ndarray, " frames"] | None = None
    """Annotated class, -1 where unlabelled; None for a video without annotation."""
    gate: Float[np.ndarray, " frames"] | None = None
    """Weight of the visual features in the fusion: 1 without audio, 0 without a face, NaN where not scored."""
    first_frame: int = 1
    """Frame number of the first row; above 1 for a subject who appears later."""
    group: str = ""
    """Heading in the list of videos: ``validation``, ``test``, ..."""

    def __post_init__(self) -> None:
        """Reject arrays of different lengths."""
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
class ConfusionMatrix:
    """Confusion matrix of one evaluation."""

    name: str
    """Heading, for example ``Official validation``."""
    counts: Int[np.ndarray, "classes classes"]
    """Frame counts; rows are annotated classes, columns predicted classes."""
    note: str = ""
    """One sentence: which model, which frames."""
    f1_intervals: Float[np.ndarray, "classes 2"] | None = None
    """Lower and upper end of the 95 % interval of the F1 of each class; None where it was not computed."""

    def __post_init__(self) -> None:
        """Reject a matrix of another size."""
        if self.counts.shape != (len(EXPRESSIONS),) * 2:
            raise ValueError(f"confusion matrix {self.name}: shape {self.counts.shape} is not {(len(EXPRESSIONS),) * 2}")


@dataclass(frozen=True, kw_only=True)
class SmoothingCurve:
    """Macro-F1 of the out-of-fold predictions as a function of the smoothing window."""

    window_s: Float[np.ndarray, " widths"]
    """Full window widths in seconds, ascending; 0 is no smoothing."""
    score: Float[np.ndarray, " widths"]
    """Of all folds pooled."""
    folds: Float[np.ndarray, "folds widths"] | None = None
    selected_s: float
    """Window width of the final predictions, in seconds."""
    in_sample: float | None = None
    """Score with the width selected on the folds that are scored: optimistic."""
    cross_fitted: float | None = None
    """Score with each fold's width selected on the other folds: without that bias."""
    interval_in_sample: Sequence[float] | None = None
    interval_cross_fitted: Sequence[float] | None = None
    """95 % intervals over recordings, lower and upper end."""
    optimism: tuple[float, float, float] | None = None
    """``in_sample`` minus ``cross_fitted``, and the ends of its paired interval."""
    kind: str = "mean"
    """Kind of the selected smoothing, to which ``score`` and ``folds`` belong."""
    other_kinds: Mapping[str, Float[np.ndarray, " widths"]] = field(default_factory=dict)
    """Scores of the kinds that were not selected, at the same widths."""
    class_bias: Mapping[str, float] = field(default_factory=dict)
    """Pooled cross-fitted macro-F1 ``with`` and ``without`` a bias per class; empty where none was fitted."""
    class_bias_used: bool = False
    class_bias_difference: tuple[float, float, float] | None = None
    """The score with the bias minus that without it, and the ends of its paired interval."""


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One training epoch of Stage I."""

    epoch: int
    loss: float
    """Mean training loss."""
    macro_f1: Mapping[str, float] = field(default_factory=dict)
    """Macro-F1 on validation images by the name of the data set."""


@dataclass(frozen=True, kw_only=True)
class DataSetScore:
    """Scores of Stage I on the validation images of one data set."""

    name: str
    images: int
    accuracy: float
    macro_f1: float
    probe_macro_f1: float | None = None
    """Macro-F1 of the linear probe; None without one."""


@dataclass(frozen=True, kw_only=True)
class ExpertUse:
    """How often the router of Stage I's head selects each expert."""

    classes: Sequence[str]
    per_class: Float[np.ndarray, "classes experts"]
    """Fraction of the validation images of a class for which the expert is selected."""
    total: Float[np.ndarray, " experts"]
    """The same over all validation images."""


@dataclass(frozen=True, kw_only=True)
class FoldEncoderScore:
    """One encoder per protocol and fold, which continued from that of the still images with chips of annotated videos."""

    name: str
    """``official``, or ``cv-`` and the number of the fold that it has not seen."""
    subjects: int
    """Number of people in its chips."""
    images: int
    """Training images, still images and chips together."""
    macro_f1: Mapping[str, float]
    """By name of the validation set of still images."""


@dataclass(frozen=True, kw_only=True)
class EncoderTraining:
    """The training of Stage I."""

    epochs: Sequence[Epoch]
    selected_epoch: int | None = None
    """Epoch whose encoder is used."""
    select: str = ""
    """Rule of the selection: ``best`` or ``last``."""
    data_sets: Sequence[DataSetScore] = ()
    """Scores of the selected epoch."""
    experts: ExpertUse | None = None
    """Use of the experts in the selected epoch; None for a single expert."""
    fold_encoders: Sequence[FoldEncoderScore] = ()
    """The encoders per fold; empty where all features are those of the encoder of the still images."""


@dataclass(frozen=True, kw_only=True)
class SubmissionInfo:
    """The submission file of the challenge."""

    path: str
    rows: int
    filled: int
    """Rows without a score, whose label is that of another frame or the most frequent class."""


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """All content of the page. The page omits empty sections and marks missing scores."""

    summary: Mapping[str, Any]
    """Content of ``summary.json``."""
    title: str = "Frame-level facial expression recognition"
    run: str = ""
    """Preset and seed, shown under the title."""
    finished: str = ""
    notes: Sequence[str] = ()
    """Caveats shown at the top, for example that the videos are synthetic."""
    confusion_matrices: Sequence[ConfusionMatrix] = ()
    smoothing: SmoothingCurve | None = None
    searches: Sequence[Search] = ()
    """Of the sweep: the fused model, then those of one modality."""
    ablation: Sequence[AblationRow] = ()
    """Scores with and without parts of the method, where ``abaw-ray ablation`` has written them beside the results."""
    encoder: EncoderTraining | None = None
    timelines: Sequence[Timeline] = ()
    submission: SubmissionInfo | None = None
    failures: Sequence[Mapping[str, Any]] = ()
    """``FAILURE`` rows of all stages."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Nested plain values; the page shows them by dotted path."""
    versions: Mapping[str, str] = field(default_factory=dict)
