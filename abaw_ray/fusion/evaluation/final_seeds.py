"""The models of ``cv`` trained with several seeds, whose probabilities are averaged."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int64

from abaw_ray.fusion.config import FusionConfig, with_seeds
from abaw_ray.fusion.ensemble import average_outputs
from abaw_ray.fusion.evaluation.cross_validation import CrossValidation
from abaw_ray.fusion.evaluation.fold_encoders import CrossValidationByEncoder
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.population.epochs import EpochChoice, choose_epochs
from abaw_ray.fusion.trained import TrainedFusion, merge_seeds
from abaw_ray.scoring.selection import OutOfFoldScores

OfOneSeed = CrossValidation | CrossValidationByEncoder


class CrossValidationOfSeeds:
    """The folds of one candidate, trained once per seed; an out-of-fold score is that of the average of the seeds."""

    def __init__(self, build: Callable[[FusionConfig], OfOneSeed], config: FusionConfig, seeds: int) -> None:
        """Nothing is trained yet.

        Args:
            build: Returns the folds of one seed, not trained yet.
            config: Settings of the models, with the first seed.
            seeds: Number of seeds.
        """
        self.parts: Sequence[OfOneSeed] = [build(one) for one in with_seeds(config, seeds)]

    def train(self, epochs: int) -> None:
        """Train all models, seed by seed."""
        for part in self.parts:
            part.train(epochs)

    @property
    def frames(self) -> Frames:
        """The frames of the training."""
        return self.parts[0].frames

    @property
    def folds(self) -> Mapping[str, int]:
        """Fold by subject's name."""
        return self.parts[0].folds

    @property
    def fold_of_row(self) -> Int64[np.ndarray, " n"]:
        """As ``CrossValidation.fold_of_row``."""
        return self.parts[0].fold_of_row

    def epochs(self, candidate: int) -> EpochChoice:
        """As ``CrossValidation.epochs``, by the frames of all seeds together."""
        return choose_epochs(np.sum([part.counts(candidate) for part in self.parts], axis=0))

    def models(self, candidate: int, epoch: int) -> list[TrainedFusion]:
        """As ``CrossValidation.models``; each has the models of all seeds."""
        return [merge_seeds(fold) for fold in zip(*(part.models(candidate, epoch) for part in self.parts), strict=True)]

    def logits(self, candidate: int, epoch: int) -> tuple[Float[np.ndarray, "n 8"], Float[np.ndarray, " n"]]:
        """As ``CrossValidation.logits``."""
        outputs = [part.logits(candidate, epoch) for part in self.parts]
        return outputs[0] if len(outputs) == 1 else average_outputs(outputs)

    def out_of_fold(self, logits: Float[np.ndarray, "n 8"]) -> list[OutOfFoldScores]:
        """As ``CrossValidation.out_of_fold``."""
        return self.parts[0].out_of_fold(logits)
