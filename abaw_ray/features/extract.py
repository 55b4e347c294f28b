"""``FACE`` rows and the sound of one video -> its ``FEATURE`` rows: every row kept, a vector where there is a chip, one where there is sound.

Rows stand for themselves: nothing is carried over from a neighbouring frame or from another person. Reading and writing is the caller's part.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float16

from abaw_ray.core import schema
from abaw_ray.core.errors import StageError
from abaw_ray.faces.chips import ChipConfig
from abaw_ray.features.device import DeviceConfig
from abaw_ray.features.speech import SpeechConfig, SpeechFeatures
from abaw_ray.features.visual import VisualConfig, VisualFeatures
from abaw_ray.media.audio import Audio

REVISION = 1
"""Raised by hand when the same settings give other features."""
_ROWS = 2048
"""Rows that are worked on at a time where a whole table is given."""
_KEY = ("video", "track", "frame", "time")


@dataclass(frozen=True, kw_only=True)
class FeaturesConfig:
    """Everything that shapes features, beside the encoder and the chips."""

    visual: VisualConfig = VisualConfig()
    """What is made of a chip."""
    speech: SpeechConfig = SpeechConfig()
    """What is made of the sound."""


class ExtractFeatures:
    """Both models, built once a worker; one video a call."""

    def __init__(self, config: FeaturesConfig, chips: ChipConfig, encoder_folder: Path, device: DeviceConfig | None = None) -> None:
        """Load both models.

        Raises:
            DataError: a model's folder does not hold it.
            ConfigError: a setting does not fit the models, the chips or this machine.
        """
        self.visual = VisualFeatures(encoder_folder, config.visual, chips, device)
        self.speech = SpeechFeatures(config.speech, device)
        self.schema = schema.feature(self.visual.dim, self.speech.dim)

    def __call__(self, faces: pa.Table, audio: Audio | None) -> pa.Table:
        """Features of one video.

        Args:
            faces: All its ``FACE`` rows, of all its people.
            audio: Its sound; None where it has none.

        Returns:
            ``FEATURE`` rows, one for each of ``faces`` and in its order.

        Raises:
            ItemError: a chip cannot be decoded.
            StageError: a frame is called seen and has no chip, or the other way round; a model gives impossible numbers.
        """
        pieces = (faces.slice(start, _ROWS) for start in range(0, len(faces), _ROWS))
        return pa.concat_tables([self.schema.empty_table(), *self.stream(pieces, faces.column("time").to_numpy(), audio)])

    def stream(self, pieces: Iterable[pa.Table], times: Float[np.ndarray, " rows"], audio: Audio | None) -> Iterator[pa.Table]:
        """Features of one video whose chips do not fit into memory together: one table out for each piece in.

        The sound is gone through once, however many people share its frames.

        Args:
            pieces: ``FACE`` rows of the video, piece by piece.
            times: The ``time`` column of all pieces together.
            audio: The video's sound.

        Raises:
            ItemError: as ``__call__``.
            StageError: as ``__call__``; or a piece has a time that is not among ``times``.
        """
        known, vectors, heard = self._voice(times, audio)
        for piece in pieces:
            wanted = piece.column("time").to_numpy()
            if not np.isin(wanted, known).all():
                raise StageError("features: a piece of the faces has times that the whole has not; give the times of all pieces")
            at = np.searchsorted(known, wanted)
            yield self._table(piece, vectors[at], heard[at])

    def _voice(self, times: np.ndarray, audio: Audio | None) -> tuple[np.ndarray, Float16[np.ndarray, "n dim"], Bool[np.ndarray, " n"]]:
        known = np.unique(times)
        return known, *self.speech(audio, known)

    def _table(self, faces: pa.Table, speech: Float16[np.ndarray, "n dim"], heard: Bool[np.ndarray, " n"]) -> pa.Table:
        chips = faces.column("chip").to_pylist()
        seen = faces.column("seen").to_numpy()
        visual, there = self.visual(chips)
        if (there != seen).any():
            row = int(np.flatnonzero(there != seen)[0])
            key = [faces.column(name)[row].as_py() for name in ("track", "frame")]
            raise StageError(f"features: track '{key[0]}' frame {key[1]} is seen={bool(seen[row])} and has {'a' if there[row] else 'no'} chip")
        columns = {name: faces.column(name) for name in _KEY} | {"seen": pa.array(seen), "heard": pa.array(heard)}
        columns |= {"visual": _vectors(visual, seen), "speech": _vectors(speech, heard)}
        return schema.conform(pa.table(columns), self.schema, stage="features")


def _vectors(values: Float16[np.ndarray, "n dim"], there: Bool[np.ndarray, " n"]) -> pa.FixedSizeListArray:
    """A column of vectors, null where there is none."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1], mask=pa.array(~there))
