"""What is selected for a candidate on its out-of-fold scores (epochs, temperature, smoothing and bias), and its scores as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from abaw_ray.core.settings import to_plain
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation
from abaw_ray.fusion.evaluation.final_seeds import CrossValidationOfSeeds
from abaw_ray.fusion.population.epochs import EpochChoice
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.fold_metrics import FoldMetrics
from abaw_ray.scoring.selection import BiasComparison, SelectionResult, select_postprocessing


@dataclass(frozen=True)
class Selected:
    """Out-of-fold scores of one candidate, with what was selected on them."""

    epochs: EpochChoice
    selection: SelectionResult
    logits: Float[np.ndarray, "n 8"]
    """After ``epochs.final`` epochs; NaN for frames outside the folds and without a usable vector."""
    gate: Float[np.ndarray, " n"]
    """Weight of the visual vector, likewise."""
    recordings: tuple[str, ...]
    """Recording of each subject, in the order of the selection's matrices."""

    @property
    def in_sample(self) -> Evaluation:
        """Scores with what was selected on all folds, by recording."""
        return Evaluation.of_subjects(self.selection.confusion_matrices, self.recordings)

    @property
    def without_fold(self) -> list[Evaluation]:
        """For each fold, scores of all recordings with what was selected on the other folds."""
        return [Evaluation.of_subjects(matrices, self.recordings) for matrices in self.selection.matrices_without_fold]

    @property
    def cross_fitted(self) -> Evaluation:
        """Scores of each fold with what was selected on the others, by recording."""
        return Evaluation.of_subjects(self.selection.cross_fitted_matrices, self.recordings)


def select(trained: CrossValidation | CrossValidationOfSeeds, candidate: int, config: SweepConfig, *, default: int, threads: int = 1) -> Selected:
    """Select epochs, temperature, smoothing and bias on a candidate's out-of-fold scores: once on all folds, and once without each.

    Args:
        trained: The folds, trained.
        candidate: A candidate that reached the last epoch.
        config: Smoothing grid and calibration.
        default: Label of a subject without any scored frame: the most frequent class of the training set.
        threads: Threads for the evaluation of the grid.
    """
    epochs = trained.epochs(candidate)
    outputs = {epoch: trained.logits(candidate, epoch) for epoch in sorted(epochs.numbers)}
    subjects = {epoch: trained.out_of_fold(logits) for epoch, (logits, _) in outputs.items()}
    selection = select_postprocessing(
        subjects[epochs.final],
        config.smoothing.settings(),
        default=default,
        calibration=config.calibration,
        threads=threads,
        subjects_without_fold=[subjects[epoch] for epoch in epochs.without_fold],
    )
    return Selected(epochs, selection, *outputs[epochs.final], recordings=tuple(recording_of(one.name) for one in subjects[epochs.final]))


def selection_figures(selected: Selected, rows: int) -> dict[str, Any]:
    """What was selected for a candidate and its scores, as plain values; ``rows``: the frames in the folds."""
    selection = selected.selection
    return {
        "epochs": selected.epochs.final,
        "epochs_without_fold": list(selected.epochs.without_fold),
        "postprocessing": to_plain(selection.postprocessing),
        **score_figures(selected),
        "bias": selection.bias and _bias_figures(selection.bias, selected.recordings),
        "table": to_plain(selection.table),
        "rows": rows,
    }


def score_figures(selected: Selected) -> dict[str, Any]:
    """In-sample and cross-fitted scores of a candidate with intervals and confusion matrix, and their difference, the optimism, as plain values."""
    selection, in_sample, cross_fitted = selected.selection, selected.in_sample, selected.cross_fitted
    return {
        "in_sample": metrics_figures(selection.in_sample) | pooled_figures(in_sample),
        "cross_fitted": metrics_figures(selection.cross_fitted) | pooled_figures(cross_fitted),
        "optimism": in_sample.minus(cross_fitted),
    }


def pooled_figures(evaluation: Evaluation) -> dict[str, Any]:
    """Intervals and confusion matrix of the frames of all folds together."""
    score = evaluation.score()
    return {name: score[name] for name in ("interval", "per_class_intervals", "confusion")}


def _bias_figures(bias: BiasComparison, recordings: Sequence[str]) -> dict[str, Any]:
    """Cross-fitted scores with and without the bias, and their difference with its paired interval."""
    biased, plain = (Evaluation.of_subjects(matrices, recordings) for matrices in (bias.with_bias_matrices, bias.without_bias_matrices))
    scores = {"with_bias": metrics_figures(bias.with_bias), "without_bias": metrics_figures(bias.without_bias)}
    return {"used": bias.used, **scores, "difference": biased.minus(plain)}


def metrics_figures(metrics: FoldMetrics) -> dict[str, Any]:
    """Metrics as plain values, with mean and standard deviation over the folds."""
    return {**to_plain(metrics), "mean": metrics.mean, "std": metrics.std}
