"""Selects temperature, smoothing and bias on out-of-fold scores and evaluates the selection twice: in-sample and cross-fitted.

``in_sample``: selected and evaluated on the same folds, so optimistic. ``cross_fitted``: each fold is evaluated with the values selected on the
other folds. The difference is the optimism of the selection. The module works on one confusion matrix per subject and trains no model.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from abaw_ray.core.settings import to_plain
from abaw_ray.scoring.calibration import Calibration
from abaw_ray.scoring.config import CalibrationConfig, SmoothingConfig
from abaw_ray.scoring.fitting.bias import fit_bias
from abaw_ray.scoring.fitting.grid import LabelledFrames, count_labels, count_settings, labelled_frames, smoothed_rows
from abaw_ray.scoring.fitting.temperature import fit_temperatures
from abaw_ray.scoring.fold_metrics import FoldMetrics, fold_metrics
from abaw_ray.scoring.metrics import CLASSES, macro_f1, per_class_f1
from abaw_ray.scoring.postprocessing import Postprocessing

_In = TypeVar("_In")
_Out = TypeVar("_Out")


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
class BiasComparison:
    """Cross-fitted metrics with and without a bias per class; all other values are selected in the same way."""

    used: bool
    """Whether the selected postprocessing has the bias."""
    with_bias: FoldMetrics
    without_bias: FoldMetrics
    with_bias_matrices: Int64[np.ndarray, "subjects 8 8"]
    """One per subject."""
    without_bias_matrices: Int64[np.ndarray, "subjects 8 8"]


@dataclass(frozen=True, kw_only=True)
class SelectionResult:
    """Postprocessing selected on all folds, with its in-sample and its cross-fitted metrics."""

    postprocessing: Postprocessing
    in_sample: FoldMetrics
    """Selected and evaluated on the same folds: optimistic."""
    cross_fitted: FoldMetrics
    """Each fold evaluated with the temperature, smoothing and bias selected on the other folds. Only whether there is a bias at all is decided on
    these very figures (with ``calibration.method=auto``): one bit of optimism, which ``bias`` shows."""
    temperatures: tuple[float, ...]
    """Temperature at which each fold is evaluated for ``cross_fitted``: fitted on the other folds."""
    bias: BiasComparison | None
    """None where no bias was fitted (``calibration.method=none``)."""
    scores_without_fold: tuple[float, ...]
    """For each fold, the pooled macro-F1 of the other folds with the values selected on them: what a choice between models may use that is evaluated
    on this fold."""
    matrices_without_fold: Int64[np.ndarray, "folds subjects 8 8"]
    """For each fold, one matrix per subject with the values selected on the other folds."""
    cross_fitted_matrices: Int64[np.ndarray, "subjects 8 8"]
    """One per subject, with the values selected on the other folds than its own."""
    table: list[dict[str, Any]]
    """One row per grid entry: settings, pooled macro-F1 and the macro-F1 of each fold, at the temperature of all folds, without any bias."""
    confusion_matrices: Int64[np.ndarray, "subjects 8 8"]
    """One per subject with the selected postprocessing: for subsets and bootstraps."""


def select_postprocessing(
    subjects: Sequence[OutOfFoldScores],
    grid: Sequence[SmoothingConfig],
    *,
    default: int,
    calibration: CalibrationConfig | None = None,
    threads: int = 1,
    subjects_without_fold: Sequence[Sequence[OutOfFoldScores]] | None = None,
) -> SelectionResult:
    """Fit the temperature on out-of-fold scores, evaluate the whole smoothing grid, select the best entry, then fit the bias on its smoothed scores.

    Args:
        subjects: Out-of-fold scores, one entry per subject, of all folds.
        grid: Candidates; among ties, the first is selected. Evaluated once for each distinct temperature (``fitting.temperature.STEP``).
        default: Label of a subject without any scored frame (the most frequent of the training set); every labelled frame counts.
        calibration: Whether there is a bias, and the settings of its search.
        threads: Threads, each with another subject or another fold.
        subjects_without_fold: For each fold, ascending, the scores from which to select without it, and with which to evaluate it, in the order of
            ``subjects``: those of models whose training was selected without the fold too. By default ``subjects``.

    Raises:
        ValueError: fewer than two folds, an empty grid, no labelled frame, or none with a score outside of one fold.
    """
    folds = sorted({subject.fold for subject in subjects})
    if len(folds) < 2 or not grid:
        raise ValueError(f"{len(folds)} folds and {len(grid)} settings; at least 2 folds and 1 setting are required")
    if not any((subject.labels >= 0).any() for subject in subjects):
        raise ValueError("no labelled frame in any fold")
    member = np.array([[subject.fold == fold for subject in subjects] for fold in folds])
    given = [subjects, *(subjects_without_fold or [subjects] * len(folds))]
    return _Rounds(given, grid, default, calibration or CalibrationConfig(), threads, member).result()


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Values selected on some of the folds, and the confusion matrices of all subjects with and without the bias."""

    smoothing: SmoothingConfig
    temperature: float
    bias: tuple[float, ...]
    with_bias: Int64[np.ndarray, "subjects 8 8"]
    without_bias: Int64[np.ndarray, "subjects 8 8"]


@dataclass(frozen=True)
class _Rounds:
    """One selection on all folds, and one on all folds but one for each fold."""

    subjects: Sequence[Sequence[OutOfFoldScores]]
    """Scores of all subjects, by round; rounds with the same scores have the same object."""
    grid: Sequence[SmoothingConfig]
    default: int
    config: CalibrationConfig
    threads: int
    member: Bool[np.ndarray, "folds subjects"]

    def result(self) -> SelectionResult:
        """Select, evaluate, and decide on the bias."""
        used = np.concatenate([np.ones((1, self.member.shape[1]), dtype=bool), ~self.member])
        temperatures = self._temperatures(used)
        keys = [(id(subjects), temperature) for subjects, temperature in zip(self.subjects, temperatures, strict=True)]
        counts = {key: self._count_grid(self.subjects[round], temperatures[round]) for round, key in reversed(list(enumerate(keys)))}
        final, *others = self._map(
            lambda round: self._select(self.subjects[round], used[round], temperatures[round], counts[keys[round]]), range(len(keys))
        )
        cross_fitted = {name: np.zeros_like(final.with_bias) for name in ("with_bias", "without_bias")}
        for one, held_out in zip(others, self.member, strict=True):
            for name, matrices in cross_fitted.items():
                matrices[held_out] = getattr(one, name)[held_out]
        metrics = {name: fold_metrics(matrices, self.member) for name, matrices in cross_fitted.items()}
        better = metrics["with_bias"].pooled > metrics["without_bias"].pooled
        biased = self.config.method == "bias" or (self.config.method == "auto" and better)
        kind = "with_bias" if biased else "without_bias"
        in_sample = getattr(final, kind)
        bias = final.bias if biased else (0.0,) * CLASSES
        return SelectionResult(
            postprocessing=Postprocessing(smoothing=final.smoothing, calibration=Calibration(temperature=final.temperature, bias=bias)),
            in_sample=fold_metrics(in_sample, self.member),
            cross_fitted=metrics[kind],
            temperatures=tuple(temperatures[1:]),
            bias=None
            if self.config.method == "none"
            else BiasComparison(
                used=biased,
                **metrics,
                with_bias_matrices=cross_fitted["with_bias"],
                without_bias_matrices=cross_fitted["without_bias"],
            ),
            scores_without_fold=tuple(macro_f1(getattr(one, kind)[~held_out].sum(axis=0)) for one, held_out in zip(others, self.member, strict=True)),
            matrices_without_fold=np.stack([getattr(one, kind) for one in others]),
            cross_fitted_matrices=cross_fitted[kind],
            table=self._table(counts[keys[0]]),
            confusion_matrices=in_sample,
        )

    def _temperatures(self, used: Bool[np.ndarray, "fits subjects"]) -> list[float]:
        """One per round, on the scored frames of the subjects that the round uses."""
        fits = np.stack([(used & fold).any(axis=1) for fold in self.member], axis=1)
        temperatures = np.zeros(len(fits))
        for subjects in {id(one): one for one in self.subjects}.values():
            rounds = [round for round, one in enumerate(self.subjects) if one is subjects]
            folds = [np.full(int(subject.scored.sum()), self.member[:, index].argmax()) for index, subject in enumerate(subjects)]
            logits, labels = zip(*((subject.logits[subject.scored], subject.labels[subject.scored]) for subject in subjects), strict=True)
            temperatures[rounds] = fit_temperatures(np.concatenate(logits), np.concatenate(labels), np.concatenate(folds), fits[rounds])
        return temperatures.tolist()

    def _select(
        self, subjects: Sequence[OutOfFoldScores], used: np.ndarray, temperature: float, counts: Int64[np.ndarray, "settings subjects 8 8"]
    ) -> _Round:
        best = int(per_class_f1(counts[:, used].sum(axis=1)).mean(axis=-1).argmax())
        without = counts[best]
        found = {"smoothing": self.grid[best], "temperature": temperature, "without_bias": without}
        if self.config.method == "none":
            return _Round(**found, bias=(0.0,) * CLASSES, with_bias=without)
        frames = [self._frames(subject, self.grid[best].max_gap_s, temperature) for subject in subjects]
        scores = [np.log(smoothed_rows(one, self.grid[best]).clip(min=1e-12)) for one in frames]
        fitted_on = np.flatnonzero(used)
        bias = fit_bias(
            np.concatenate([scores[index] for index in fitted_on]), np.concatenate([frames[index].labels for index in fitted_on]), self.config
        )
        biased = np.array([count_labels(rows, one.labels, np.array(bias)) for rows, one in zip(scores, frames, strict=True)])
        return _Round(**found, bias=bias, with_bias=biased)

    def _count_grid(self, subjects: Sequence[OutOfFoldScores], temperature: float) -> Int64[np.ndarray, "settings subjects 8 8"]:
        longest_first = np.argsort([-len(subject.time) for subject in subjects])  # the threads then end together
        done = self._map(lambda index: self._count_subject(subjects[index], temperature), longest_first)
        return np.stack(done, axis=1)[:, np.argsort(longest_first)]

    def _count_subject(self, subject: OutOfFoldScores, temperature: float) -> Int64[np.ndarray, "settings 8 8"]:
        counts = np.zeros((len(self.grid), CLASSES, CLASSES), np.int64)
        for gap in {one.max_gap_s for one in self.grid}:
            chosen = [index for index, one in enumerate(self.grid) if one.max_gap_s == gap]
            counts[chosen] = count_settings(self._frames(subject, gap, temperature), [self.grid[index] for index in chosen])
        return counts

    def _frames(self, subject: OutOfFoldScores, max_gap_s: float, temperature: float) -> LabelledFrames:
        probabilities = Calibration(temperature=temperature).probabilities(np.where(subject.scored[:, None], subject.logits, 0.0))
        return labelled_frames(probabilities, subject.time, subject.scored, subject.labels, max_gap_s=max_gap_s, default=self.default)

    def _table(self, counts: Int64[np.ndarray, "settings subjects 8 8"]) -> list[dict[str, Any]]:
        by_fold = np.einsum("fv,gvij->gfij", self.member.astype(np.int64), counts)
        scores = per_class_f1(by_fold).mean(axis=-1)
        return [
            {**to_plain(one), "macro_f1": macro_f1(by_fold[index].sum(axis=0)), "folds": scores[index].tolist()}
            for index, one in enumerate(self.grid)
        ]

    def _map(self, function: Callable[[_In], _Out], inputs: Iterable[_In]) -> list[_Out]:
        """Results in the inputs' order."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, inputs))
