"""Chips of faces -> one vector per frame: the encoder's vectors of every scale of a chip, averaged over the scales (paper, Stage II).

A frame without a chip has no vector; no black image is encoded in its place. ``faces`` determines which frames have chips.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float16
from torch import Tensor

from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.encoder.checkpoint import load_encoder
from abaw_ray.encoder.inference.layer_scale import fold_layer_scale
from abaw_ray.encoder.output.head import load_head
from abaw_ray.encoder.vit.compiled_blocks import compile_blocks
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.chip_batches import chip_batches
from abaw_ray.features.config import DeviceConfig, VisualConfig
from abaw_ray.features.device import setup_device
from abaw_ray.features.late_results import one_batch_late
from abaw_ray.features.scale_crops import DeviceCrops, HostCrops, PreparedChips, ScaleCrops
from abaw_ray.training.copies import copies_to, on_device
from abaw_ray.training.loop import Prefetcher


def resolve_scales(config: VisualConfig, chips: ChipConfig) -> tuple[float, ...]:
    """The scales to crop from chips of this kind.

    Raises:
        ConfigError: a scale exceeds the chips.
    """
    scales = config.scales or chips.scales
    if max(scales) > chips.scales[-1]:
        raise ConfigError(f"visual.scales={config.scales} exceed the chips' largest, {chips.scales[-1]}; extend chips.scales and prepare faces again")
    return scales


class VisualOutput(NamedTuple):
    """Visual features of chips. Rows without a chip are zeros without meaning."""

    vectors: Float16[np.ndarray, "n dim"]
    has_chip: Bool[np.ndarray, " n"]
    logits: Float16[np.ndarray, "n classes"]
    """Of Stage I's head, averaged over the scales; no columns where they are not kept."""


class VisualFeatures:
    """The encoder, loaded once per worker."""

    def __init__(self, encoder: Path, config: VisualConfig, chips: ChipConfig, device: DeviceConfig | None = None) -> None:
        """Load the encoder from its folder.

        Raises:
            DataError: the folder does not hold an encoder, or no head where its logits are kept.
            ConfigError: a scale exceeds the chips, or the device is not available.
        """
        self.scales, self.device_config = resolve_scales(config, chips), device or DeviceConfig()
        self.device = setup_device(self.device_config)
        self.encoder = load_encoder(encoder)
        fold_layer_scale(self.encoder.vit)
        self.encoder.to(self.device)
        self.head, self.classes = load_head(encoder) if config.logits else (None, ())
        """Stage I's head, in float32, and the names of its classes; none where its logits are not kept."""
        if self.head is not None:
            self.head.to(self.device)
        gpu = self.device.type == "cuda"
        if gpu:
            self.encoder.vit.to(torch.bfloat16)
        compile_blocks(self.encoder.vit, self.device_config.compile, self.device)
        size = self.encoder.img_size
        self.crops: ScaleCrops = DeviceCrops(self.scales, chips, size, self.device) if gpu else HostCrops(self.scales, chips, size)
        """Cuts the scales; on a CPU the readers' threads do, because OpenCV needs fewer operations than matrix products."""
        self.readers = Prefetcher(self.device_config.decode_workers)
        """Threads that decode chips."""
        self._copies = copies_to(self.device)
        self.dim: int = self.encoder.dim
        """Length of a vector."""

    def __call__(self, chips: Sequence[bytes | None]) -> VisualOutput:
        """Visual vectors of chips, and the logits where they are kept.

        Args:
            chips: JPEG of each frame, None where the frame has none.

        Raises:
            ItemError: a chip cannot be decoded; the message has its row number, from 1.
            StageError: the encoder returns numbers that are not finite, or too large for half precision.
        """
        step = max(1, self.device_config.visual_batch_size // len(self.scales))
        out = np.zeros((len(chips), self.dim + len(self.classes)), np.float16)
        batches = on_device(chip_batches(chips, self.crops.prepare, step, self.readers), self._copies)
        for rows, means in one_batch_late((rows, self._encode(prepared)) for rows, prepared in batches):
            if not np.isfinite(means).all():
                raise StageError("features: the encoder returns numbers that are not finite in half precision; check its training")
            out[rows] = means
        return VisualOutput(out[:, : self.dim], np.array([chip is not None for chip in chips], dtype=bool), out[:, self.dim :])

    @torch.inference_mode()
    def _encode(self, prepared: PreparedChips) -> Float16[Tensor, "chips columns"]:
        """Vector and logits of each chip, side by side."""
        vectors = self.encoder(self.crops.crop(prepared)).float()
        if self.head is not None:
            vectors = torch.cat([vectors, self.head(vectors).logits], dim=1)
        return vectors.unflatten(0, (-1, len(self.scales))).mean(dim=1).half()
