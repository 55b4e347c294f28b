"""Audio-visual bundles -> scores of frames: the encoder, the speech model and the fusion models."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.features.config import DeviceConfig
from abaw_ray.features.extract import ExtractFeatures
from abaw_ray.fusion.checkpoint import load_fusion
from abaw_ray.fusion.frames import unlabelled_frames
from abaw_ray.fusion.inference import predict_average
from abaw_ray.media.audio import Audio
from abaw_ray.predict.bundle.metadata import ENCODER_FOLDER, SPEECH_FOLDER
from abaw_ray.predict.bundle.store import ModelBundle
from abaw_ray.predict.models.scores import FrameScores


class AudioVisualModel:
    """Encoder, speech model and fusion models of one bundle, loaded once per worker."""

    def __init__(self, bundle: ModelBundle, device: DeviceConfig | None = None, storage: StorageConfig | None = None) -> None:
        """Load all models; the folder of the bundle is not needed afterwards.

        Args:
            bundle: An opened bundle of kind ``audio-visual``.
            device: Device and batch sizes.
            storage: Settings of object stores.

        Raises:
            ConfigError: the speech model is on the model hub, which does not respond; or the device does not exist.
            DataError: one of the models is damaged.
        """
        metadata = bundle.metadata
        speech = metadata.features.speech
        if speech.weights == SPEECH_FOLDER:
            speech = replace(speech, weights=str(bundle.folder / SPEECH_FOLDER))
        features = replace(metadata.features, speech=speech)
        self._extract = ExtractFeatures(features, metadata.faces.chips, bundle.folder / ENCODER_FOLDER, device, storage)
        self._device = self._extract.visual.device
        self._models = [load_fusion(Path(bundle.folder, name)) for name in metadata.fusion]

    def score(self, batches: Iterable[pa.Table], times: Float[np.ndarray, " frames"], audio: Audio | None) -> Iterator[FrameScores]:
        """As ``FrameModel.score``.

        Raises:
            ItemError: a chip cannot be decoded.
        """
        tables = self._extract.stream(batches, times, audio)
        if any(model.model.config.head != "frame" for model in self._models):
            # A temporal head reads frames of other batches: the vectors of all of them are kept, 3.6 kB per frame and person at the paper's widths.
            yield from self._whole(list(tables))
            return
        for table in tables:
            logits, gate = self._predict(table)
            yield FrameScores(logits=logits, gate=gate, heard=table["heard"].to_numpy())

    def _whole(self, tables: list[pa.Table]) -> Iterator[FrameScores]:
        """Scores of each table, from the frames of all of them."""
        if tables:
            logits, gate = self._predict(pa.concat_tables(tables))
            start = 0
            for table in tables:
                rows = slice(start, start + len(table))
                yield FrameScores(logits=logits[rows], gate=gate[rows], heard=table["heard"].to_numpy())
                start = rows.stop

    def _predict(self, features: pa.Table) -> tuple[Float[np.ndarray, "rows 8"], Float[np.ndarray, " rows"]]:
        """Logits and gates of ``FEATURE`` rows, averaged over the models."""
        frames = unlabelled_frames(features)
        return predict_average(self._models, frames, device=self._device.type)
