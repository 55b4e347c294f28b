"""Image bundles -> scores of frames: an image classifier on the chip of each frame. Audio is not used."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float32, UInt8

from abaw_ray.core.errors import DataError, StageError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.faces.chips import crop_scale
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.chip_batches import Chip, chip_batches
from abaw_ray.features.config import DeviceConfig
from abaw_ray.features.device import setup_device
from abaw_ray.media.audio import Audio
from abaw_ray.predict.bundle.metadata import CLASSIFIER_FOLDER
from abaw_ray.predict.bundle.store import ModelBundle
from abaw_ray.predict.classifiers.network import load_network
from abaw_ray.predict.classifiers.preprocessing import resize_and_crop
from abaw_ray.predict.config import ClassifierConfig
from abaw_ray.predict.models.scores import FrameScores
from abaw_ray.training.loop import Prefetcher


class ImageClassifierModel:
    """The image classifier of one bundle, loaded once per worker, in float32 on every device."""

    def __init__(self, bundle: ModelBundle, device: DeviceConfig | None = None) -> None:
        """Load the network; the folder of the bundle is not needed afterwards.

        Args:
            bundle: An opened bundle of kind ``image``.
            device: Device and batch sizes.

        Raises:
            ConfigError: the device does not exist.
            DataError: the network is damaged, or the bundle does not describe it.
        """
        name, config = bundle.metadata.name, bundle.metadata.classifier
        if config is None:
            raise DataError(f"{name}: does not describe its classifier; import the model again")
        self._config: ClassifierConfig = config
        self._chips: ChipConfig = bundle.metadata.faces.chips
        self._device_config = device or DeviceConfig()
        self._device = setup_device(self._device_config)
        self._readers = Prefetcher(self._device_config.decode_workers)
        self._network = load_network(bundle.folder / CLASSIFIER_FOLDER, config.framework, name).to(self._device)
        self._mean, self._std = (torch.tensor(values, device=self._device).view(1, 3, 1, 1) for values in (config.mean, config.std))

    def score(self, batches: Iterable[pa.Table], times: Float[np.ndarray, " frames"], audio: Audio | None) -> Iterator[FrameScores]:
        """As ``FrameModel.score``; the audio is not used, and frames without a chip have no score.

        Raises:
            ItemError: a chip cannot be decoded.
            StageError: the network returns numbers that are not finite.
        """
        for table in batches:
            logits = self._logits(table["chip"].to_pylist())
            yield FrameScores(logits=logits, gate=np.full(len(logits), np.nan, np.float32), heard=np.zeros(len(logits), bool))

    def _logits(self, chips: Sequence[bytes | None]) -> Float32[np.ndarray, "rows 8"]:
        out = np.full((len(chips), len(EXPRESSIONS)), np.nan, np.float32)
        for rows, images in chip_batches(chips, self._crops, self._device_config.visual_batch_size, self._readers):
            out[rows] = expression_logits(self._classify(images), self._config.expressions)
        return out

    def _crops(self, chips: list[Chip]) -> UInt8[np.ndarray, "images 3 size size"]:
        return np.ascontiguousarray(np.stack([self._crop(chip) for chip in chips]).transpose(0, 3, 1, 2))

    def _crop(self, chip: Chip) -> UInt8[np.ndarray, "size size 3"]:
        scale = self._config.crop_scale
        side = max(1, round(len(chip) * scale / self._chips.scales[-1]))  # the chip's own resolution; the classifier's filter resizes it
        return resize_and_crop(crop_scale(chip, scale, self._chips, side), self._config)

    @torch.inference_mode()
    def _classify(self, pixels: UInt8[np.ndarray, "images 3 size size"]) -> Float32[np.ndarray, "images classes"]:
        rescaled = torch.from_numpy(pixels).to(self._device).float() * self._config.rescale
        logits = self._network((rescaled - self._mean) / self._std).float().cpu().numpy()
        if logits.shape[1] != len(self._config.labels) or not np.isfinite(logits).all():
            raise StageError(
                f"the classifier returns numbers that are not finite, or not {len(self._config.labels)} for each image; check its weights"
            )
        return logits


def expression_logits(logits: Float32[np.ndarray, "rows classes"], expressions: Sequence[str]) -> Float32[np.ndarray, "rows 8"]:
    """Log-probabilities of the eight expressions: classes without an expression are removed, and the others renormalized.

    Args:
        logits: Of the classifier's classes.
        expressions: The expression of each class, or empty. Probabilities of several classes of one expression are added.

    Returns:
        -inf for an expression that no class has.
    """
    out = np.full((len(logits), len(EXPRESSIONS)), -np.inf, np.float32)
    for column, expression in enumerate(expressions):
        if expression:
            index = EXPRESSIONS.index(expression)
            out[:, index] = np.logaddexp(out[:, index], logits[:, column])
    return out - np.logaddexp.reduce(out, axis=1, keepdims=True)
