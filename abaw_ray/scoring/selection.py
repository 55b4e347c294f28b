"""Selects smoothing and bias on out-of-fold scores and evaluates the selection twice: in-sample and cross-fitted.

``in_sample``: selected and evaluated on the same folds, so optimistic. ``cross_fitted``: each fold is evaluated with the values selected on the
other folds. The difference is the optimism of the selection. The module works on one confusion matrix per subject and trains no model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from abaw_ray.core.settings import to_plain
from abaw_ray.scoring.calibration import Calibration, fit_bias
from abaw_ray.scoring.config import SMOOTHING_GRID, CalibrationConfig, SmoothingConfig
from abaw_ray.scoring.fill import fill_labels
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1, per_class_f1
from abaw_ray.scoring.postprocessing import Postprocessing, predict_labels
from abaw_ray.scoring.smoothing import fill_gaps, smooth, smooth_filled


@dataclass(frozen=True, kw_only=True)
class OutOfFoldScores:
    """Scores of one subject, from the model that was not trained on its recording."""

    name: str
    fold: int
    logits: Float[np.ndarray, "frames 8"]
    time: Float[np.ndarray, " frames"]
    scored: Bool[np.ndarray, " frames"]
    labels: Int[np.ndarray, " frames"]


@dataclass(frozen=True, kw_only=True)
class FoldMetrics:
    """Macro-F1 of held-out frames."""

    folds: tuple[float, ...]
    """One value per fold, in ascending order of the folds."""
    pooled: float
    """Macro-F1 of all frames of all folds together."""
    per_class: tuple[float, ...]
    """F1 of each class over all frames of all folds."""

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.folds))

    @property
    def std(self) -> float:
        """Population standard deviation over the folds (the usual convention for five-fold results)."""
        return float(np.std(self.folds))


@dataclass(frozen=True, kw_only=True)
class SelectionResult:
    """Postprocessing selected on all folds, with its in-sample and its cross-fitted metrics."""

    postprocessing: Postprocessing
    in_sample: FoldMetrics
    """Selected and evaluated on the same folds: optimistic."""
    cross_fitted: FoldMetrics
    """Each fold evaluated with the values selected on the other folds; only the temperature, one number, is fitted on all folds."""
    table: list[dict[str, Any]]
    """One row per grid entry: settings, pooled macro-F1 and the macro-F1 of each fold, without any bias."""
    confusion_matrices: Int64[np.ndarray, "subjects 8 8"]
    """One per subject with the selected postprocessing: for subsets and bootstraps."""


def select_postprocessing(
    subjects: Sequence[OutOfFoldScores],
    grid: Sequence[SmoothingConfig] = SMOOTHING_GRID,
    *,
    default: int,
    temperature: float = 1.0,
    calibration: CalibrationConfig | None = None,
) -> SelectionResult:
    """Evaluate the whole smoothing grid on out-of-fold scores, select the best entry, then fit the bias on its smoothed scores.

    Args:
        subjects: Out-of-fold scores, one entry per subject, of all folds.
        grid: Candidates; among ties, the first is selected.
        default: Label of a subject without any scored frame (the most frequent of the training set); every labelled frame counts.
        temperature: Softmax temperature, from ``fit_temperature``.
        calibration: Settings of the bias search; by default no bias is fitted.

    Raises:
        ValueError: fewer than two folds, an empty grid, or no labelled frame.
    """
    folds = sorted({subject.fold for subject in subjects})
    if len(folds) < 2 or not grid:
        raise ValueError(f"{len(folds)} folds and {len(grid)} settings; at least 2 folds and 1 setting are required")
    member = np.array([[subject.fold == fold for subject in subjects] for fold in folds])
    uncalibrated = Calibration(temperature=temperature)
    counts = np.stack([_count_grid(subject, grid, uncalibrated, default) for subject in subjects], axis=1)
    if not counts[0].sum():
        raise ValueError("no labelled frame in any fold")
    by_fold = np.einsum("fv,gvij->gfij", member.astype(np.int64), counts)
    selector = _Selector(subjects, grid, uncalibrated, calibration or CalibrationConfig())
    selected = selector.select(by_fold.sum(axis=1), np.ones(len(subjects), dtype=bool))
    in_sample = np.array([_count(subject, selected, default) for subject in subjects])
    cross_fitted = np.zeros_like(in_sample)
    for index, held_out in enumerate(member):
        selected_without_fold = selector.select(by_fold.sum(axis=1) - by_fold[:, index], ~held_out)
        cross_fitted[held_out] = [_count(subject, selected_without_fold, default) for subject in subjects if subject.fold == folds[index]]
    scores = per_class_f1(by_fold).mean(axis=-1)
    table = [{**to_plain(one), "macro_f1": macro_f1(by_fold[index].sum(axis=0)), "folds": scores[index].tolist()} for index, one in enumerate(grid)]
    metrics = {"in_sample": fold_metrics(in_sample, member), "cross_fitted": fold_metrics(cross_fitted, member)}
    return SelectionResult(postprocessing=selected, **metrics, table=table, confusion_matrices=in_sample)


def fold_metrics(matrices: Int[np.ndarray, "subjects 8 8"], member: Bool[np.ndarray, "folds subjects"]) -> FoldMetrics:
    """Metrics per fold and pooled, from one matrix per subject; ``member`` masks the subjects that each fold holds out."""
    by_fold = np.einsum("fv,vij->fij", member.astype(np.int64), matrices)
    pooled = by_fold.sum(axis=0)
    return FoldMetrics(
        folds=tuple(per_class_f1(by_fold).mean(axis=-1).tolist()), pooled=macro_f1(pooled), per_class=tuple(per_class_f1(pooled).tolist())
    )


@dataclass(frozen=True)
class _Selector:
    """Selects the postprocessing on a subset of the subjects: on all folds, or on all folds but one."""

    subjects: Sequence[OutOfFoldScores]
    grid: Sequence[SmoothingConfig]
    uncalibrated: Calibration
    config: CalibrationConfig

    def select(self, counts: Int64[np.ndarray, "settings 8 8"], used: Bool[np.ndarray, " subjects"]) -> Postprocessing:
        smoothing = self.grid[int(per_class_f1(counts).mean(axis=-1).argmax())]
        if self.config.method == "none":
            return Postprocessing(smoothing=smoothing, calibration=self.uncalibrated)
        scores, labels = zip(
            *(self._log_probabilities(subject, smoothing) for subject, use in zip(self.subjects, used, strict=True) if use), strict=True
        )
        bias = fit_bias(np.concatenate(scores), np.concatenate(labels), self.config)
        return Postprocessing(smoothing=smoothing, calibration=replace(self.uncalibrated, bias=bias))

    def _log_probabilities(self, subject: OutOfFoldScores, smoothing: SmoothingConfig) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed log-probabilities and labels of the frames that have both."""
        probabilities = smooth(_softmax(subject, self.uncalibrated), subject.time, subject.scored, smoothing)
        both = ~np.isnan(probabilities[:, 0]) & (subject.labels >= 0)
        return np.log(probabilities[both].clip(min=1e-12)), subject.labels[both]


def _softmax(subject: OutOfFoldScores, calibration: Calibration) -> Float[np.ndarray, "frames 8"]:
    return calibration.probabilities(np.where(subject.scored[:, None], subject.logits, 0.0))


def _count(subject: OutOfFoldScores, postprocessing: Postprocessing, default: int) -> Int64[np.ndarray, "8 8"]:
    predicted = predict_labels(postprocessing.probabilities(subject.logits, subject.time, subject.scored))
    return confusion_matrix(subject.labels, fill_labels(predicted, default))


def _count_grid(
    subject: OutOfFoldScores, grid: Sequence[SmoothingConfig], calibration: Calibration, default: int
) -> Int64[np.ndarray, "settings 8 8"]:
    """``_count`` for every grid entry; the softmax is computed once, and gaps are filled once per ``max_gap_s``."""
    probabilities = _softmax(subject, calibration)
    filled = {gap: fill_gaps(probabilities, subject.time, subject.scored, max_gap_s=gap) for gap in {one.max_gap_s for one in grid}}
    smoothed = (smooth_filled(filled[one.max_gap_s][0], subject.time, filled[one.max_gap_s][1], one) for one in grid)
    return np.array([confusion_matrix(subject.labels, fill_labels(predict_labels(scores), default)) for scores in smoothed])
