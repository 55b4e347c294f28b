"""A trial: a population on the folds of Train_Set; and the choice among the candidates of all trials. ``cluster`` schedules the trials, ``proposals``
says what they try.

Epochs, smoothing and bias are not searched: they are chosen afterwards (``selected``), on the out-of-fold scores of the candidates that were not
stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

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

REVISION = 8
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

    The unchanged settings (no override) always reach it: they are often better than most candidates at the end and worse after few epochs, and the
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
        ``fold``, cross-fitted ``counts``, ``in_sample_counts``, and for each fold ``without_fold_counts``) and ``selection`` (``selection_figures``).

    Raises:
        DataError: a fold has no row to train on.
        ProtocolError: the folds would leak, or contain a subject outside Train_Set.
    """
    trained = official_folds(frames, folds, [candidate_config(config, one, mode) for one in overrides], device)
    unchanged = [number for number, changes in enumerate(overrides) if not changes]
    trained.train(config.fusion.epochs, config.halving, on_epoch, all_epochs=False, never_stopped=unchanged)
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
    without_fold = np.stack([one.counts for one in selected.without_fold], axis=1)
    return {
        "score": selection.in_sample.pooled,
        "cross_fitted": selection.cross_fitted.pooled,
        "epochs": selected.epochs.final,
        "without_fold": list(selection.scores_without_fold),
        "recordings": {
            name: {"fold": fold_of[name], "counts": counts.tolist(), "in_sample_counts": seen.tolist(), "without_fold_counts": others.tolist()}
            for name, counts, seen, others in zip(cross_fitted.recordings, cross_fitted.counts, in_sample.counts, without_fold, strict=True)
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
        "highest": best.highest,
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
    highest: int
    """Position of the highest in-sample score; another one where its gain over the unchanged settings was too small."""
    cross_fitted: FoldMetrics
    """Each fold scored by the candidate that is chosen on the other folds, with everything about it selected on the other folds."""
    evaluation: Evaluation
    """The same scores by recording."""
    in_sample: Evaluation
    """Scores of the chosen candidate, with everything about it selected on all folds."""


def best_candidate(results: Sequence[Mapping[str, Any]], min_gain_se: float) -> BestCandidate:
    """The candidate with the highest in-sample score, or the unchanged settings where its gain over them is small; and the cross-fitted score of the
    whole search.

    Cross-fitting does not remove that the proposals follow from the scores of all folds, nor that the models of the other folds have trained on the
    fold that is held out; a nested search measures both.

    Args:
        results: Of ``run_population``, in any order; among equal scores, the first is chosen.
        min_gain_se: As in ``SweepConfig``; without the unchanged settings among the results, the highest score is chosen.

    Raises:
        ValueError: all candidates were stopped.
    """
    finalists = _Finalists({index: row for index, row in enumerate(results) if not row["stopped"]}, min_gain_se)
    if not finalists.rows:
        raise ValueError("no candidate reached the last epoch")
    best = finalists.best()
    by_fold = {number: finalists.rows[finalists.best(without)]["recordings"] for without, number in enumerate(finalists.folds)}
    fold_of = finalists.fold_of
    counts = np.array([by_fold[number][name]["counts"] for name, number in fold_of.items()], dtype=np.int64)
    member = np.array(list(fold_of.values())) == np.array(finalists.folds)[:, None]
    return BestCandidate(
        index=best,
        highest=finalists.highest(),
        cross_fitted=fold_metrics(counts, member),
        evaluation=Evaluation(tuple(fold_of), counts),
        in_sample=finalists.evaluation(best),
    )


@dataclass(frozen=True)
class _Finalists:
    """The candidates that reached the last epoch, compared on all folds, or on all but the fold at a position."""

    rows: Mapping[int, Mapping[str, Any]]
    """Result by position in the list of all results."""
    min_gain_se: float

    @cached_property
    def fold_of(self) -> dict[str, int]:
        """Fold of each recording, by name in their order."""
        recordings = next(iter(self.rows.values()))["recordings"]
        return {name: recordings[name]["fold"] for name in sorted(recordings)}

    @cached_property
    def folds(self) -> list[int]:
        """The folds, ascending."""
        return sorted(set(self.fold_of.values()))

    def highest(self, without: int | None = None) -> int:
        """The candidate with the highest score."""
        return max(self.rows, key=lambda index: self.rows[index]["score"] if without is None else self.rows[index]["without_fold"][without])

    def best(self, without: int | None = None) -> int:
        """The candidate with the highest score, or the unchanged settings where its gain over them is below ``min_gain_se`` or has no error."""
        highest = self.highest(without)
        unchanged = next((index for index, row in self.rows.items() if not row["changes"]), highest)
        if unchanged == highest or not self.min_gain_se:
            return highest
        gain = self.evaluation(highest, without).gain_in_standard_errors(self.evaluation(unchanged, without))
        return highest if gain is not None and gain >= self.min_gain_se else unchanged

    def evaluation(self, index: int, without: int | None = None) -> Evaluation:
        """Scores of a candidate with what was selected on the same folds."""
        rows = self.rows[index]["recordings"]
        if without is None:
            counts = {name: rows[name]["in_sample_counts"] for name in self.fold_of}
        else:
            counts = {name: rows[name]["without_fold_counts"][without] for name, fold in self.fold_of.items() if fold != self.folds[without]}
        return Evaluation(tuple(counts), np.array(list(counts.values()), dtype=np.int64))
