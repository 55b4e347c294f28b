"""``FACE`` rows and the audio of one video -> its ``FEATURE`` rows: one per FACE row, with a visual vector where the row has a chip and a
speech vector where the frame has audio.

Rows are independent: nothing is copied from a neighboring frame or from another person. The caller reads and writes.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float16

from abaw_ray.core import schema
from abaw_ray.core.errors import StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import DeviceConfig, FeaturesConfig
from abaw_ray.features.speech import SpeechFeatures
from abaw_ray.features.visual import VisualFeatures
from abaw_ray.media.audio import Audio

_BATCH_ROWS = 2048
"""Rows per batch where a whole table is given."""
_KEY = ("video", "track", "frame", "time", "shot")


class ExtractFeatures:
    """Both models, loaded once per worker; one video per call."""

    def __init__(
        self,
        config: FeaturesConfig,
        chips: ChipConfig,
        encoder_folder: Path,
        device: DeviceConfig | None = None,
        storage: StorageConfig | None = None,
    ) -> None:
        """Load both models.

        Args:
            config: Settings of the features.
            chips: The settings with which the chips were cropped.
            encoder_folder: A saved encoder.
            device: Device and batch sizes.
            storage: Settings of object stores, for a speech model at a URI.

        Raises:
            DataError: a folder does not hold the model.
            ConfigError: a setting does not fit the models, the chips or this machine, or the speech model does not exist.
        """
        self.visual = VisualFeatures(encoder_folder, config.visual, chips, device)
        self.speech = SpeechFeatures(config.speech, device, storage)
        self.schema = schema.feature(self.visual.dim, self.speech.dim, self.visual.classes)

    def __call__(self, faces: pa.Table, audio: Audio | None) -> pa.Table:
        """Features of one video.

        Args:
            faces: All its ``FACE`` rows, of all people.
            audio: Its audio; None where it has none.

        Returns:
            ``FEATURE`` rows, one for each row of ``faces``, in the same order.

        Raises:
            ItemError: a chip cannot be decoded.
            StageError: a row is marked as seen and has no chip, or has a chip and is not seen; a model returns numbers that are not finite.
        """
        batches = (faces.slice(start, _BATCH_ROWS) for start in range(0, len(faces), _BATCH_ROWS))
        return pa.concat_tables([self.schema.empty_table(), *self.stream(batches, faces.column("time").to_numpy(), audio)])

    def stream(self, batches: Iterable[pa.Table], times: Float[np.ndarray, " rows"], audio: Audio | None) -> Iterator[pa.Table]:
        """Features of one video whose chips do not fit into memory at once: one table per batch.

        The audio passes through the model once, however many people share its frames.

        Args:
            batches: ``FACE`` rows of the video, in batches.
            times: The ``time`` column of all batches.
            audio: The video's audio.

        Raises:
            ItemError: as ``__call__``.
            StageError: as ``__call__``; or a batch has a time that is not in ``times``.
        """
        unique_times = np.unique(times)
        vectors, heard = self.speech(audio, unique_times)
        for batch in batches:
            batch_times = batch.column("time").to_numpy()
            if not np.isin(batch_times, unique_times).all():
                raise StageError("features: a batch of the faces has times that are not in the given times; give the times of all batches")
            at = np.searchsorted(unique_times, batch_times)
            yield self._table(batch, vectors[at], heard[at])

    def _table(self, faces: pa.Table, speech: Float16[np.ndarray, "n dim"], heard: Bool[np.ndarray, " n"]) -> pa.Table:
        chips = faces.column("chip").to_pylist()
        seen = faces.column("seen").to_numpy()
        visual, has_chip, logits = self.visual(chips)
        check_chips(faces, has_chip)
        columns = {name: faces.column(name) for name in _KEY} | {"seen": pa.array(seen), "heard": pa.array(heard)}
        columns |= {"visual": vector_column(visual, seen), "speech": vector_column(speech, heard)}
        columns |= {"logits": vector_column(logits, seen)} if self.visual.classes else {}
        return schema.conform(pa.table(columns), self.schema, stage="features")


def check_chips(faces: pa.Table, has_chip: Bool[np.ndarray, " n"]) -> None:
    """Check that exactly the rows that are seen have a chip.

    Raises:
        StageError: names the first row for which this is not so.
    """
    seen = faces.column("seen").to_numpy()
    if (has_chip != seen).any():
        row = int(np.flatnonzero(has_chip != seen)[0])
        track, frame = (faces.column(name)[row].as_py() for name in ("track", "frame"))
        raise StageError(f"features: track '{track}' frame {frame} is seen={bool(seen[row])} and has {'a' if has_chip[row] else 'no'} chip")


def vector_column(values: Float16[np.ndarray, "n dim"], valid: Bool[np.ndarray, " n"]) -> pa.FixedSizeListArray:
    """A column of vectors, null where not valid."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1], mask=pa.array(~valid))
