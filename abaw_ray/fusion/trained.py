"""A trained fusion model, of one or several seeds, with what it was trained on; ``protocols`` reads the latter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from abaw_ray.fusion.model import GatedFusion


@dataclass(frozen=True, kw_only=True)
class TrainingProvenance:
    """The subjects and recordings that a model was trained on; ``protocols`` rejects scores on the same data."""

    subjects: frozenset[str]
    """Names of the subjects in its training frames."""
    recordings: frozenset[str]
    """The recordings of those subjects."""
    encoder_train_subjects: frozenset[str] = frozenset()
    """Names of the subjects whose face crops trained the encoder of its features."""


@dataclass(frozen=True, kw_only=True)
class TrainedFusion:
    """A trained model, its provenance and its training curve."""

    model: GatedFusion
    """In evaluation mode; includes its settings and its standardization."""
    other_seeds: tuple[GatedFusion, ...] = ()
    """The same model trained with other seeds; its probabilities are averaged with theirs."""
    provenance: TrainingProvenance
    curve: Sequence[Mapping[str, Any]] = ()
    """One entry per epoch: ``epoch`` from 1, ``loss``, and ``macro_f1`` where frames were held out."""

    @property
    def models(self) -> tuple[GatedFusion, ...]:
        """The models of all seeds."""
        return (self.model, *self.other_seeds)


def merge_seeds(trained: Sequence[TrainedFusion]) -> TrainedFusion:
    """One model of models that were trained on the same data with different seeds; the curve is that of the first."""
    return replace(trained[0], other_seeds=tuple(one.model for one in trained[1:]))
