"""A trial: a population on the folds of Train_Set; and the choice among the candidates of all trials. ``cluster`` schedules the trials, ``proposals``
says what they try.

Epochs, smoothing and bias are not searched: they are chosen afterwards (``selected``), on the out-of-fold scores of the candidates that were not
stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from abaw_ray.core.settings import replace_at
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation
from abaw_ray.fusion.evaluation.protocols import official_folds
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.proposals import CandidateScores, importance
from abaw_ray.fusion.selected import Selected, metrics_figures, pooled_figures, select, selection_figures
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.fold_metrics import FoldMetrics, fold_metrics

REVISION = 7
"""Raised when the same features and settings give different models, scores, figures or files."""


def candidate_config(config: SweepConfig, overrides: Mapping[str, Any], mode: str = "fused") -> FusionConfig:
    """Fusion settings of one candidate, for a model of both modalities or of one modality alone."""
    return replace_at(config.fusion, {**overrides, "mode": mode})


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

    The baseline settings (no override) always reach it: they are often better than most candidates at the end and worse after few epochs, and the
    choice among all candidates has to include them.

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
    baseline = [number for number, changes in enumerate(overrides) if not changes]
    trained.train(config.fusion.epochs, config.halving, on_epoch, all_epochs=False, never_stopped=baseline)
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


def search_figures(results: Sequence[Mapping[str, Any]], best: "BestCandidate") -> dict[str, Any]:
    """Scores of a whole search, as plain values: in-sample (of the chosen candidate), cross-fitted, and their difference, the optimism, with its
    paired interval.
    """
    chosen = results[best.index]
    return {
        "candidates": len(results),
        "chosen": best.index,
        "in_sample": chosen["selection"]["in_sample"],
        "cross_fitted": metrics_figures(best.cross_fitted) | pooled_figures(best.evaluation),
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
