"""Chips of faces -> one vector a frame: every chip at every scale through the encoder, averaged over the scales (paper, Stage II).

A frame without a chip has no vector; it is never shown to the encoder as a black picture. Which frames have chips is ``faces``' part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float16, UInt8

from abaw_ray.core.errors import ConfigError, ItemError, StageError
from abaw_ray.encoder.model import load_encoder
from abaw_ray.faces.chips import ChipConfig, crop_scale, decode_jpeg
from abaw_ray.features.device import DeviceConfig, use
from abaw_ray.training.loop import ahead


@dataclass(frozen=True, kw_only=True)
class VisualConfig:
    """What is made of a chip."""

    scales: tuple[float, ...] = ()
    """Sides of the squares in units of the face box, at most the chips' largest; empty takes the chips' own. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse squares without extent."""
        if any(scale <= 0 for scale in self.scales):
            raise ConfigError(f"visual.scales={self.scales} must be above 0")

    def scales_of(self, chips: ChipConfig) -> tuple[float, ...]:
        """The scales that are cut from chips of this kind.

        Raises:
            ConfigError: the chips do not hold one of them.
        """
        scales = self.scales or chips.scales
        if max(scales) > chips.scales[-1]:
            raise ConfigError(f"visual.scales={self.scales} go beyond the chips' largest, {chips.scales[-1]}; widen chips.scales and cut them again")
        return scales


class VisualFeatures:
    """The encoder, built once a worker."""

    def __init__(self, encoder: Path, config: VisualConfig, chips: ChipConfig, device: DeviceConfig | None = None) -> None:
        """Load the encoder from its folder.

        Raises:
            DataError: the folder does not hold one.
            ConfigError: the chips do not hold a wanted scale, or there is no such device.
        """
        self.chips, self.scales, self.how = chips, config.scales_of(chips), device or DeviceConfig()
        self.device = use(self.how)
        self.encoder = load_encoder(encoder).to(self.device)
        if self.device.type == "cuda":
            self.encoder.vit.to(torch.bfloat16)
        self.dim: int = self.encoder.dim
        """Numbers of a vector."""

    def __call__(self, chips: Sequence[bytes | None]) -> tuple[Float16[np.ndarray, "n dim"], Bool[np.ndarray, " n"]]:
        """Encode the chips.

        Args:
            chips: JPEG of each frame, None where the frame has none.

        Returns:
            The vectors, and whether there is one; rows without hold zeros that stand for nothing.

        Raises:
            ItemError: a chip is no picture; the message counts it from 1.
            StageError: the encoder gives numbers that are not finite, or too large for half precision.
        """
        there = np.array([chip is not None for chip in chips], dtype=bool)
        rows = np.flatnonzero(there)
        step = max(1, self.how.images // len(self.scales))
        groups = [rows[start : start + step] for start in range(0, len(rows), step)]
        out = np.zeros((len(chips), self.dim), np.float16)
        for group, pixels in zip(groups, ahead(groups, lambda group: self._pixels(chips, group), self.how.readers), strict=True):
            out[group] = self._encode(pixels)
        return out, there

    def _pixels(self, chips: Sequence[bytes | None], group: np.ndarray) -> UInt8[np.ndarray, "images 3 size size"]:
        """RGB crops of some chips, the scales of one chip after each other."""
        crops = []
        for row in group:
            try:
                chip = decode_jpeg(chips[row])
            except ValueError as error:
                raise ItemError(f"the chip of row {row + 1} cannot be decoded: {error}; prepare the video's faces again") from error
            crops += [crop_scale(chip, scale, self.chips, self.encoder.size) for scale in self.scales]
        return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))

    @torch.inference_mode()
    def _encode(self, pixels: UInt8[np.ndarray, "images 3 size size"]) -> Float16[np.ndarray, "chips dim"]:
        vectors = self.encoder(torch.from_numpy(pixels).to(self.device)).float()
        means = vectors.unflatten(0, (-1, len(self.scales))).mean(dim=1).half().cpu().numpy()
        if not np.isfinite(means).all():
            raise StageError("features: the encoder gives numbers that are not finite in half precision; look at its training")
        return means
