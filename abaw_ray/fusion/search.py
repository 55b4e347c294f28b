"""A trial: a population on the folds of Train_Set, and what is selected for a candidate: epochs, temperature, smoothing and bias. ``cluster``
schedules the trials, ``proposals`` says what they try.

Epochs, smoothing and bias are not searched: they are chosen afterwards, on the out-of-fold scores of the candidates that were not stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from abaw_ray.core.settings import replace_at, to_plain
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation
from abaw_ray.fusion.evaluation.final_seeds import CrossValidationOfSeeds
from abaw_ray.fusion.evaluation.protocols import official_folds
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.population.epochs import EpochChoice
from abaw_ray.fusion.proposals import CandidateScores, importance
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.fold_metrics import FoldMetrics, fold_metrics
from abaw_ray.scoring.selection import BiasComparison, SelectionResult, select_postprocessing

REVISION = 5
"""Raised when the same features and settings give other models, scores or figures."""


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
    def cross_fitted(self) -> Evaluation:
        """Scores of each fold with what was selected on the others, by recording."""
        return Evaluation.of_subjects(self.selection.cross_fitted_matrices, self.recordings)


def candidate_config(config: SweepConfig, overrides: Mapping[str, Any], mode: str = "fused") -> FusionConfig:
    """Fusion settings of one candidate, for a model of both modalities or of one modality alone."""
    return replace_at(config.fusion, {**overrides, "mode": mode})


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


def run_population(
    frames: Frames,
    folds: Mapping[str, int],
    config: SweepConfig,
    overrides: Sequence[Mapping[str, Any]],
    *,
    mode: str = "fused",
    default: int,
    on_epoch: Callable[[int, int], None] | None = None,
    device: str | None = None,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """Train a population on the folds of Train_Set with successive halving, and select for those that reach the end.

    Args:
        frames: Features and labels.
        folds: Fold by subject's name, of Train_Set alone.
        config: The sweep.
        overrides: The candidates, of one architecture.
        mode: Both modalities, or one.
        default: As in ``select``.
        on_epoch: As in ``train_with_halving``.
        device: ``cpu`` or ``cuda``; by default a GPU where there is one.
        threads: As in ``select``.

    Returns:
        A candidate's result as plain values: ``changes``, ``curve`` (rows by epoch), ``stopped``, and where it was not stopped ``score`` (in-sample,
        pooled), ``cross_fitted``, ``epochs``, ``without_fold`` (scores on the other folds), ``recordings`` (by recording:
        ``fold``, cross-fitted ``counts`` and ``in_sample_counts``) and ``selection`` (``selection_figures``).

    Raises:
        DataError: a fold has no row to train on.
        ProtocolError: the folds would leak, or contain a subject outside Train_Set.
    """
    trained = official_folds(frames, folds, [candidate_config(config, one, mode) for one in overrides], device)
    trained.train(config.fusion.epochs, config.halving, on_epoch, all_epochs=False)
    finalists = set(trained.finalists())
    results = []
    for number, (changes, curve) in enumerate(zip(overrides, trained.curves, strict=True)):
        row: dict[str, Any] = {"changes": dict(changes), "curve": curve.plain(), "stopped": number not in finalists}
        if number in finalists:
            row |= _figures(trained, select(trained, number, config, default=default, threads=threads))
        results.append(row)
    return results


def _figures(trained: CrossValidation, selected: Selected) -> dict[str, Any]:
    selection = selected.selection
    fold_of = {recording_of(name): fold for name, fold in trained.folds.items()}
    in_sample, cross_fitted = selected.in_sample, selected.cross_fitted
    return {
        "score": selection.in_sample.pooled,
        "cross_fitted": selection.cross_fitted.pooled,
        "epochs": selected.epochs.final,
        "without_fold": list(selection.scores_without_fold),
        "recordings": {
            name: {"fold": fold_of[name], "counts": counts.tolist(), "in_sample_counts": in_sample_counts.tolist()}
            for name, counts, in_sample_counts in zip(cross_fitted.recordings, cross_fitted.counts, in_sample.counts, strict=True)
        },
        "selection": selection_figures(selected, int((trained.fold_of_row >= 0).sum())),
    }


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
        "in_sample": metrics_figures(selection.in_sample) | _pooled_figures(in_sample),
        "cross_fitted": metrics_figures(selection.cross_fitted) | _pooled_figures(cross_fitted),
        "optimism": in_sample.minus(cross_fitted),
    }


def _pooled_figures(evaluation: Evaluation) -> dict[str, Any]:
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


def search_figures(results: Sequence[Mapping[str, Any]], best: "BestCandidate") -> dict[str, Any]:
    """Scores of a whole search, as plain values: in-sample (of the chosen candidate), cross-fitted, and their difference, the optimism, with its
    paired interval.
    """
    chosen = results[best.index]
    return {
        "candidates": len(results),
        "chosen": best.index,
        "in_sample": chosen["selection"]["in_sample"],
        "cross_fitted": metrics_figures(best.cross_fitted) | _pooled_figures(best.evaluation),
        "optimism": best.in_sample.minus(best.evaluation),
    }


def candidate_scores(results: Sequence[Mapping[str, Any]]) -> list[CandidateScores]:
    """What proposals and importance read of the results of ``run_population``."""
    return [CandidateScores(row["changes"], [epoch["macro_f1"] for epoch in row["curve"]], row["stopped"]) for row in results]


def importance_of(config: SweepConfig, results: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """How much of the differences between candidates each setting explains, from the results of ``run_population``."""
    return importance(config, [candidate_scores(results)])


@dataclass(frozen=True)
class BestCandidate:
    """The choice among all candidates that reached the last epoch."""

    index: int
    """Position in the list of results."""
    cross_fitted: FoldMetrics
    """Each fold scored by the candidate that is best on the other folds, with everything about it selected on the other folds."""
    evaluation: Evaluation
    """The same scores by recording."""
    in_sample: Evaluation
    """Scores of the chosen candidate, with everything about it selected on all folds."""


def best_candidate(results: Sequence[Mapping[str, Any]]) -> BestCandidate:
    """The candidate with the highest in-sample score, and the cross-fitted score of the whole search.

    Cross-fitting does not remove that the proposals follow from the scores of all folds, nor that the models of the other folds have trained on the
    fold that is held out; a nested search measures both.

    Args:
        results: Of ``run_population``, in any order; among equal scores, the first is chosen.

    Raises:
        ValueError: all candidates were stopped.
    """
    finalists = [index for index, row in enumerate(results) if not row["stopped"]]
    if not finalists:
        raise ValueError("no candidate reached the last epoch")
    best = max(finalists, key=lambda index: results[index]["score"])
    folds = len(results[best]["without_fold"])
    chosen = [max(finalists, key=lambda index, fold=fold: results[index]["without_fold"][fold]) for fold in range(folds)]
    names = sorted(results[best]["recordings"])
    numbers = np.unique([results[best]["recordings"][name]["fold"] for name in names], return_inverse=True)[1]
    rows = [results[chosen[number]]["recordings"][name] for name, number in zip(names, numbers, strict=True)]
    matrices: Int64[np.ndarray, "recordings 8 8"] = np.array([row["counts"] for row in rows], dtype=np.int64)
    in_sample = np.array([results[best]["recordings"][name]["in_sample_counts"] for name in names], dtype=np.int64)
    cross_fitted = fold_metrics(matrices, numbers == np.arange(folds)[:, None])
    return BestCandidate(best, cross_fitted, Evaluation(tuple(names), matrices), Evaluation(tuple(names), in_sample))
