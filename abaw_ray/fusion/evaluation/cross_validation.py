"""Candidates trained on all folds of a protocol, their out-of-fold scores, and the number of epochs, read off these scores."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.evaluation.leakage import check_cv, check_encoder, check_shared_recordings, subjects_of
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.inference import predict_logits
from abaw_ray.fusion.population.config import HalvingConfig
from abaw_ray.fusion.population.epochs import EpochChoice, choose_epochs
from abaw_ray.fusion.population.halving import Curve, train_with_halving
from abaw_ray.fusion.population.rows import TrainingFolds
from abaw_ray.fusion.population.training import Population
from abaw_ray.fusion.trained import TrainedFusion, TrainingProvenance
from abaw_ray.scoring.selection import OutOfFoldScores

NO_HALVING = HalvingConfig(reduction=1)


@dataclass
class CrossValidation:
    """Candidates of one architecture on the folds of a protocol."""

    frames: Frames
    folds: Mapping[str, int]
    """Fold by subject's name; other subjects are neither trained on nor scored."""
    candidates: Sequence[FusionConfig]
    device: str | None = None
    only: int | None = None
    """The one fold that is trained; None for all. With one encoder per fold, each fold has frames of its own."""
    population: Population = field(init=False)
    curves: list[Curve] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Check the folds and build the models; nothing is trained yet.

        Raises:
            DataError: a fold has no row to train on.
            ProtocolError: a recording is in two folds, or the encoder was trained on face crops of subjects that a fold holds out.
        """
        check_shared_recordings(self.frames, self.folds)
        check_encoder(self.frames.encoder_train_subjects, subjects_of(self.frames, self._held_out_names()))
        folds = TrainingFolds(
            train=[self._others(number) for number in self.numbers],
            held_out=[self._fold_of_subject == number for number in self.numbers],
            numbers=self.numbers,
            paced_by=[self._others(number) for number in sorted(set(self.folds.values()))],
        )
        self.population = Population(self.frames, self.candidates, folds, device=self.device)

    @cached_property
    def numbers(self) -> list[int]:
        """The numbers of the folds that are trained, ascending."""
        return sorted(set(self.folds.values())) if self.only is None else [self.only]

    def _others(self, number: int) -> Bool[np.ndarray, " subjects"]:
        """The training subjects of a fold."""
        return (self._fold_of_subject >= 0) & (self._fold_of_subject != number)

    def _held_out_names(self) -> list[str]:
        return [name for name, number in self.folds.items() if number in self.numbers]

    @cached_property
    def _fold_of_subject(self) -> Int64[np.ndarray, " subjects"]:
        return np.array([self.folds.get(subject.name, -1) for subject in self.frames.subjects], dtype=np.int64)

    @property
    def fold_of_row(self) -> Int64[np.ndarray, " n"]:
        """The fold that holds each frame out; -1 for subjects outside the folds that are trained."""
        fold_of_subject = np.where(np.isin(self._fold_of_subject, self.numbers), self._fold_of_subject, -1)
        return fold_of_subject[self.frames.subject_index]

    def train(
        self,
        epochs: int,
        halving: HalvingConfig = NO_HALVING,
        on_epoch: Callable[[int, int], None] | None = None,
        *,
        all_epochs: bool = True,
        never_stopped: Collection[int] = (),
    ) -> None:
        """Train all candidates; arguments as in ``train_with_halving``."""
        self.curves = train_with_halving(self.population, epochs, halving, on_epoch, all_epochs=all_epochs, never_stopped=never_stopped)

    def release_vectors(self) -> None:
        """Drop the features: ``models`` is still possible, and ``logits`` with the frames given again."""
        self.frames = self.population.frames = self.frames.without_vectors()
        self.population.data = None

    def finalists(self) -> list[int]:
        """The candidates that reached the last epoch."""
        return [number for number, curve in enumerate(self.curves) if curve.weights]

    def counts(self, candidate: int) -> Int64[np.ndarray, "epochs folds 8 8"]:
        """Confusion matrices of the held-out frames after every epoch of one candidate, without smoothing."""
        return np.stack(self.curves[candidate].counts)

    def epochs(self, candidate: int) -> EpochChoice:
        """The numbers of epochs of one candidate."""
        return choose_epochs(self.counts(candidate))

    def models(self, candidate: int, epoch: int) -> list[TrainedFusion]:
        """The models of all folds after this epoch.

        Raises:
            KeyError: its weights were not kept (``train`` with ``all_epochs`` off keeps those that ``epochs`` can choose).
        """
        config, curve = self.candidates[candidate], self.curves[candidate]
        return [
            TrainedFusion(
                model=self.population.member(config, curve.weights[epoch], fold),
                provenance=_provenance(self.frames, mask),
                curve=curve.plain(),
            )
            for fold, mask in enumerate(self.population.train)
        ]

    def logits(self, candidate: int, epoch: int, frames: Frames | None = None) -> tuple[Float[np.ndarray, "n 8"], Float[np.ndarray, " n"]]:
        """Out-of-fold logits and visual weights of one candidate after this epoch: the model that scores a subject was not trained on its recording.

        NaN for subjects outside the folds and for frames without a usable vector. ``frames``: those of the training, where their vectors were
        released.

        Raises:
            ProtocolError: a model was trained on a recording that its fold holds out.
        """
        frames = frames or self.frames
        logits, gate = np.full((len(frames), 8), np.nan, np.float32), np.full(len(frames), np.nan, np.float32)
        for number, trained in zip(self.numbers, self.models(candidate, epoch), strict=True):
            check_cv(trained.provenance, subjects_of(self.frames, [name for name, fold in self.folds.items() if fold == number]))
            rows = np.flatnonzero(self.fold_of_row == number)
            logits[rows], gate[rows] = predict_logits(trained, frames, rows, device=self.device)
        return logits, gate

    def out_of_fold(self, logits: Float[np.ndarray, "n 8"]) -> list[OutOfFoldScores]:
        """These logits by subject, the input of ``select_postprocessing``."""
        return out_of_fold(self.frames, logits, self.fold_of_row)


def out_of_fold(frames: Frames, logits: Float[np.ndarray, "n 8"], fold_of_row: Int64[np.ndarray, " n"]) -> list[OutOfFoldScores]:
    """Logits by subject; subjects outside the folds (-1) are left out."""
    scores = []
    for index, subject in enumerate(frames.subjects):
        rows = np.flatnonzero((frames.subject_index == index) & (fold_of_row >= 0))
        if len(rows):
            scores.append(
                OutOfFoldScores(
                    name=subject.name,
                    fold=int(fold_of_row[rows[0]]),
                    logits=logits[rows],
                    time=frames.time[rows],
                    scored=np.all(np.isfinite(logits[rows]), axis=1),
                    labels=frames.labels[rows],
                )
            )
    return scores


def train_on_all(
    frames: Frames, subjects: Bool[np.ndarray, " subjects"], config: FusionConfig, epochs: int, device: str | None = None
) -> TrainedFusion:
    """One model trained on these subjects for a number of epochs, without a held-out score.

    Raises:
        DataError: none of their frames is labelled and has a vector of the mode.
    """
    population = Population(frames, [config], TrainingFolds([subjects]), device=device)
    curve = [{"epoch": epoch, "loss": float(population.train_epoch().mean())} for epoch in range(1, epochs + 1)]
    return TrainedFusion(model=population.member(config, population.weights(0), 0), provenance=_provenance(frames, subjects), curve=curve)


def _provenance(frames: Frames, subjects: Bool[np.ndarray, " subjects"]) -> TrainingProvenance:
    trained_on = [subject for subject, used in zip(frames.subjects, subjects, strict=True) if used]
    return TrainingProvenance(
        subjects=frozenset(subject.name for subject in trained_on),
        recordings=frozenset(subject.recording for subject in trained_on),
        encoder_train_subjects=frames.encoder_train_subjects,
    )
