"""The protocol ``cv`` with one encoder per fold: every fold has features of its own, of an encoder that has not seen the recordings it holds out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Int64

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.ensemble import average_outputs
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation, out_of_fold
from abaw_ray.fusion.evaluation.leakage import ProtocolError, check_same_rows
from abaw_ray.fusion.evaluation.protocols import check_cv_folds, score_new_subjects
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.population.epochs import EpochChoice, choose_epochs
from abaw_ray.fusion.trained import TrainedFusion
from abaw_ray.scoring.selection import OutOfFoldScores


class CrossValidationByEncoder:
    """The models of ``cv`` where every fold has features of its own encoder; of one candidate."""

    def __init__(self, frames_of: Callable[[int], Frames], folds: Mapping[str, int], config: FusionConfig, *, device: str | None = None) -> None:
        """Nothing is read yet.

        Args:
            frames_of: Fold -> the frames with the features of its encoder; one set is in memory at a time.
            folds: Fold by subject's name, of train and validation together.
            config: Settings of the models.
            device: ``cpu`` or ``cuda``; by default a GPU where there is one.
        """
        self.frames_of, self.folds, self.config, self.device = frames_of, folds, config, device
        self.numbers = sorted(set(folds.values()))
        self.parts: list[CrossValidation] = []

    def train(self, epochs: int) -> None:
        """Train the models, fold by fold.

        Raises:
            ProtocolError: an encoder was trained on a recording that its fold holds out, or does not say on whom; the sets have different rows; or
                the folds are not train and validation together.
        """
        for number in self.numbers:
            self.parts.append(self._trained(number, self.frames_of(number), epochs))

    def _trained(self, number: int, frames: Frames, epochs: int) -> CrossValidation:
        check_cv_folds(frames, self.folds)
        if not frames.encoder_train_subjects:
            raise ProtocolError(f"cv: the features of fold {number} do not state whose face crops trained their encoder; extract them again")
        if self.parts:
            check_same_rows(self.parts[0].frames, frames)
        part = CrossValidation(frames, self.folds, [self.config], self.device, only=number)
        part.train(epochs)
        part.release_vectors()
        return part

    @property
    def frames(self) -> Frames:
        """The frames without their vectors."""
        return self.parts[0].frames

    @property
    def fold_of_row(self) -> Int64[np.ndarray, " n"]:
        """The fold that holds each frame out; -1 for subjects outside the folds."""
        return np.max([part.fold_of_row for part in self.parts], axis=0)

    def counts(self, candidate: int) -> Int64[np.ndarray, "epochs folds 8 8"]:
        """As ``CrossValidation.counts``; there is one candidate, 0."""
        return np.concatenate([part.counts(candidate) for part in self.parts], axis=1)

    def epochs(self, candidate: int) -> EpochChoice:
        """As ``CrossValidation.epochs``."""
        return choose_epochs(self.counts(candidate))

    def models(self, candidate: int, epoch: int) -> list[TrainedFusion]:
        """As ``CrossValidation.models``."""
        return [model for part in self.parts for model in part.models(candidate, epoch)]

    def logits(self, candidate: int, epoch: int) -> tuple[Float[np.ndarray, "n 8"], Float[np.ndarray, " n"]]:
        """As ``CrossValidation.logits``; the frames of every fold are read again."""
        logits, gate = np.full((len(self.frames), 8), np.nan, np.float32), np.full(len(self.frames), np.nan, np.float32)
        for number, part in zip(self.numbers, self.parts, strict=True):
            rows = part.fold_of_row >= 0
            own_logits, own_gate = part.logits(candidate, epoch, self.frames_of(number))
            logits[rows], gate[rows] = own_logits[rows], own_gate[rows]
        return logits, gate

    def out_of_fold(self, logits: Float[np.ndarray, "n 8"]) -> list[OutOfFoldScores]:
        """As ``CrossValidation.out_of_fold``."""
        return out_of_fold(self.frames, logits, self.fold_of_row)


def score_ensemble_by_encoder(
    models: Sequence[TrainedFusion], frames_of: Callable[[int], Frames], *, device: str | None = None
) -> tuple[Frames, Int[np.ndarray, " rows"], Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
    """Ensemble scores of the test release where every model has features of its own encoder.

    Args:
        models: The models of the folds, ascending.
        frames_of: Fold -> the frames with the features of its encoder; one set is in memory at a time.
        device: As in ``CrossValidationByEncoder``.

    Returns:
        The frames without their vectors, and the scores as of ``score_ensemble``.

    Raises:
        ProtocolError: as ``score_ensemble``; or the sets have different rows.
    """
    common, outputs = None, []
    for fold, trained in enumerate(models):
        frames = frames_of(fold)
        common = common or frames.without_vectors()
        check_same_rows(common, frames)
        outputs.append(score_new_subjects(trained, frames, common.subject_names("test"), device=device))
        del frames  # before the next set is read
    if common is None:
        raise ProtocolError("test: there is no model")
    return common, common.rows_of_subjects(common.subject_names("test")), *average_outputs(outputs)
