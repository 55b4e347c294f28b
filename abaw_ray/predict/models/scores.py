"""Scores of frames, and the call that every kind of model has. Imports no tensor library."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float

from abaw_ray.media.audio import Audio


@dataclass(frozen=True, kw_only=True)
class FrameScores:
    """Scores of some FACE rows, in their order."""

    logits: Float[np.ndarray, "rows 8"]
    """NaN where the row has no score, and -inf for an expression that the model does not have."""
    gate: Float[np.ndarray, " rows"]
    """Weight of the face against the voice; NaN where the row has no score, or the model has no voice."""
    heard: Bool[np.ndarray, " rows"]
    """Whether the frame has audio that the model reads."""


@runtime_checkable
class FrameModel(Protocol):
    """Scores the frames of one video."""

    def score(self, batches: Iterable[pa.Table], times: Float[np.ndarray, " frames"], audio: Audio | None) -> Iterator[FrameScores]:
        """Scores of each batch of FACE rows.

        Args:
            batches: FACE rows of one video with their chips.
            times: All times of the batches, in seconds.
            audio: The video's audio; None where it has none.
        """
        ...
