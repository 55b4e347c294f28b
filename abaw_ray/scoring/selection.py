"""Out-of-fold scores -> the smoothing and bias to use, with two scores: chosen on the same folds, and chosen on the other folds.

The first is what a search reports and is too good; the second scores every fold with what the others chose, so the optimism is visible.
Works on confusion matrices a subject; trains nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from abaw_ray.core.settings import to_plain
from abaw_ray.scoring.calibration import Calibration, CalibrationConfig, fit_bias
from abaw_ray.scoring.decision import Decision, choose_labels
from abaw_ray.scoring.filling import fill_labels
from abaw_ray.scoring.metrics import confusion, macro_f1, per_class_f1
from abaw_ray.scoring.smoothing import SmoothingConfig, average, fill_gaps, smooth


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """One subject's scores from the model that did not train on its recording."""

    name: str
    fold: int
    logits: Float[np.ndarray, "frames 8"]
    time: Float[np.ndarray, " frames"]
    scored: Bool[np.ndarray, " frames"]
    labels: Int[np.ndarray, " frames"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Macro-F1 of held-out frames."""

    folds: tuple[float, ...]
    """One a fold, in the folds' order."""
    pooled: float
    """Of all frames of all folds together."""
    per_class: tuple[float, ...]
    """F1 of each class, pooled."""

    @property
    def mean(self) -> float:
        """Of the folds."""
        return float(np.mean(self.folds))

    @property
    def std(self) -> float:
        """Of the folds, as a population (as five-fold results are usually stated)."""
        return float(np.std(self.folds))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen on all folds, and how good it is, twice."""

    decision: Decision
    same: Scores
    """Chosen and scored on the same folds: optimistic."""
    other: Scores
    """Each fold scored with what the other folds chose; only the temperature, one number, is that of all folds."""
    table: list[dict]
    """The grid: settings, pooled macro-F1 and that of each fold, before any bias."""
    confusions: Int64[np.ndarray, "subjects 8 8"]
    """Of the decision, one a subject: for subsets and bootstraps."""


DEFAULT_GRID: tuple[SmoothingConfig, ...] = tuple(
    SmoothingConfig(kind=kind, window=window)
    for kind, windows in (("mean", (0.0, 0.4, 0.8, 1.6, 2.4, 3.4, 5.0, 8.0, 12.0)), ("gaussian", (1.6, 3.4, 6.8)))
    for window in windows
)
"""Around the 3 to 4 seconds that did best elsewhere (``DATA.md`` section 3); ours, not from the paper."""


def choose_smoothing(
    videos: Sequence[OutOfFold],
    grid: Sequence[SmoothingConfig] = DEFAULT_GRID,
    *,
    default: int,
    temperature: float = 1.0,
    calibration: CalibrationConfig | None = None,
) -> Choice:
    """Score the whole grid on out-of-fold scores and choose; then look for a bias on what was chosen.

    Args:
        videos: One a subject, of all folds.
        grid: What may be chosen; of equals the first.
        default: Label of a subject without any scored frame (the most frequent of training); every annotated frame counts.
        temperature: Of the softmax, from ``fit_temperature``.
        calibration: How a bias is looked for; none by default.

    Raises:
        ValueError: fewer than two folds, an empty grid, or no annotated frame.
    """
    folds = sorted({video.fold for video in videos})
    if len(folds) < 2 or not grid:
        raise ValueError(f"{len(folds)} folds and {len(grid)} settings; wanted are at least 2 folds and 1 setting")
    member = np.array([[video.fold == fold for video in videos] for fold in folds])
    plain = Calibration(temperature=temperature)
    counts = np.stack([_count_grid(video, grid, plain, default) for video in videos], axis=1)
    if not counts[0].sum():
        raise ValueError("no annotated frame in any fold")
    by_fold = np.einsum("fv,gvij->gfij", member.astype(np.int64), counts)
    chooser = _Chooser(videos, grid, plain, calibration or CalibrationConfig())
    decision = chooser.choose(by_fold.sum(axis=1), np.ones(len(videos), dtype=bool))
    final = np.array([_count(video, decision, default) for video in videos])
    nested = np.zeros_like(final)
    for index, inside in enumerate(member):
        others = chooser.choose(by_fold.sum(axis=1) - by_fold[:, index], ~inside)
        nested[inside] = [_count(video, others, default) for video in videos if video.fold == folds[index]]
    scores = per_class_f1(by_fold).mean(axis=-1)
    table = [{**to_plain(one), "macro_f1": macro_f1(by_fold[index].sum(axis=0)), "folds": scores[index].tolist()} for index, one in enumerate(grid)]
    return Choice(decision=decision, same=score(final, member), other=score(nested, member), table=table, confusions=final)


def score(confusions: Int[np.ndarray, "subjects 8 8"], member: Bool[np.ndarray, "folds subjects"]) -> Scores:
    """Scores from one matrix a subject and which subjects each fold holds out."""
    by_fold = np.einsum("fv,vij->fij", member.astype(np.int64), confusions)
    pooled = by_fold.sum(axis=0)
    return Scores(folds=tuple(per_class_f1(by_fold).mean(axis=-1).tolist()), pooled=macro_f1(pooled), per_class=tuple(per_class_f1(pooled).tolist()))


@dataclass(frozen=True)
class _Chooser:
    """Chooses on a part of the subjects; the same way for all folds and for all but one."""

    videos: Sequence[OutOfFold]
    grid: Sequence[SmoothingConfig]
    plain: Calibration
    config: CalibrationConfig

    def choose(self, counts: Int64[np.ndarray, "settings 8 8"], used: Bool[np.ndarray, " subjects"]) -> Decision:
        smoothing = self.grid[int(per_class_f1(counts).mean(axis=-1).argmax())]
        if self.config.method == "none":
            return Decision(smoothing=smoothing, calibration=self.plain)
        parts = [self._held_out(video, smoothing) for video, wanted in zip(self.videos, used, strict=True) if wanted]
        bias = fit_bias(np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts]), self.config)
        return Decision(smoothing=smoothing, calibration=replace(self.plain, bias=bias))

    def _held_out(self, video: OutOfFold, smoothing: SmoothingConfig) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and labels of the frames that have both."""
        probabilities = smooth(_plain(video, self.plain), video.time, video.scored, smoothing)
        both = ~np.isnan(probabilities[:, 0]) & (video.labels >= 0)
        return np.log(probabilities[both].clip(min=1e-12)), video.labels[both]


def _plain(video: OutOfFold, calibration: Calibration) -> Float[np.ndarray, "frames 8"]:
    return calibration.probabilities(np.where(video.scored[:, None], video.logits, 0.0))


def _count(video: OutOfFold, decision: Decision, default: int) -> Int64[np.ndarray, "8 8"]:
    predicted = choose_labels(decision.probabilities(video.logits, video.time, video.scored))
    return confusion(video.labels, fill_labels(predicted, default))


def _count_grid(video: OutOfFold, grid: Sequence[SmoothingConfig], plain: Calibration, default: int) -> Int64[np.ndarray, "settings 8 8"]:
    """``_count`` for every setting, the softmax taken once and the gaps of each length filled once."""
    probabilities = _plain(video, plain)
    filled = {gap: fill_gaps(probabilities, video.time, video.scored, max_gap=gap) for gap in {one.max_gap for one in grid}}
    smoothed = (average(filled[one.max_gap][0], video.time, filled[one.max_gap][1], one) for one in grid)
    return np.array([confusion(video.labels, fill_labels(choose_labels(scores), default)) for scores in smoothed])
