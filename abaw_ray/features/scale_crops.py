"""Batches of chips -> their crops at all scales, on the host or on the encoder's device.

Both evaluate the same linear operator, that of ``faces.chips.crop_scale``: linear interpolation at equidistant positions, of which as many as the
crop has pixels per output pixel are averaged. On the device it is a matrix product from both sides, so chips of different sides form one batch;
OpenCV rounds positions and intermediate values, so single pixels differ by a few gray levels at sharp edges.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Int, UInt8
from torch import Tensor

from abaw_ray.faces.chips import crop_scale
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.chip_batches import Chip


class PreparedChips(NamedTuple):
    """What the readers' threads hand over; crops on the host, whole chips for the device."""

    pixels: UInt8[Tensor, "..."]
    sides: Int[Tensor, " n"]


class ScaleCrops(Protocol):
    """Crops every scale of a batch of chips; the crops of one chip are adjacent."""

    def prepare(self, chips: list[Chip]) -> PreparedChips:
        """The part of the work that the readers' threads do."""
        ...

    def crop(self, prepared: PreparedChips) -> UInt8[Tensor, "crops 3 size size"]:
        """The crops, on the encoder's device."""
        ...


class HostCrops:
    """Crops in the readers' threads, with OpenCV."""

    def __init__(self, scales: Sequence[float], chips: ChipConfig, size: int) -> None:
        """Set the scales, the settings with which the chips were cropped, and the side of a crop in pixels."""
        self._scales, self._chips, self._size = scales, chips, size

    def prepare(self, chips: list[Chip]) -> PreparedChips:
        """Crop every scale of every chip."""
        crops = np.stack([crop_scale(chip, scale, self._chips, self._size) for chip in chips for scale in self._scales])
        return PreparedChips(torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))), _sides(chips))

    def crop(self, prepared: PreparedChips) -> UInt8[Tensor, "crops 3 size size"]:
        """The crops as they were prepared."""
        return prepared.pixels


class DeviceCrops:
    """Copies each chip to the device once and crops every scale there."""

    def __init__(self, scales: Sequence[float], chips: ChipConfig, size: int, device: torch.device) -> None:
        """Set the scales, the settings with which the chips were cropped, the side of a crop in pixels, and the device."""
        self._shares = torch.tensor([scale / chips.scales[-1] for scale in scales], dtype=torch.float64)
        self._size, self._device = size, device

    def prepare(self, chips: list[Chip]) -> PreparedChips:
        """Copy the chips into one array in pinned memory, padded at the right and bottom to the largest side."""
        largest = max(len(chip) for chip in chips)
        pixels = torch.zeros((len(chips), largest, largest, 3), dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        array = pixels.numpy()
        for slot, chip in zip(array, chips, strict=True):
            slot[: len(chip), : len(chip)] = chip
        return PreparedChips(pixels, _sides(chips))

    def crop(self, prepared: PreparedChips) -> UInt8[Tensor, "crops 3 size size"]:
        """The crops, on the device."""
        pixels = prepared.pixels.to(self._device, non_blocking=True).permute(0, 3, 1, 2).float()
        weights = self._weights(prepared.sides, pixels.shape[-1])[:, :, None]
        crops = weights @ pixels[:, None] @ weights.transpose(-1, -2)
        return crops.round().clamp(0, 255).to(torch.uint8).flatten(0, 1)

    def _weights(self, sides: Int[Tensor, " n"], length: int) -> Float32[Tensor, "n scales size length"]:
        """Weight of every pixel of a chip's row in every pixel of a crop's row."""
        cropped = sides[:, None].double() * self._shares
        oversampling = (cropped / self._size).ceil()
        step = cropped / (self._size * oversampling)
        first = (sides[:, None] - cropped) / 2 + step / 2 - 0.5
        most = int(oversampling.max())
        step, first, oversampling, last = (
            values.to(self._device, torch.float32, non_blocking=True)[..., None, None] for values in (step, first, oversampling, sides[:, None] - 1)
        )
        output = torch.arange(self._size, device=self._device)[:, None]
        pixel = torch.arange(length, device=self._device)
        weights = torch.zeros((*cropped.shape, self._size, length), device=self._device)
        for number in range(most):
            position = (first + step * (output * oversampling + number)).clamp(min=0).minimum(last)
            weights += (1 - (pixel - position).abs()).clamp(min=0) * (number < oversampling) / oversampling
        return weights


def _sides(chips: list[Chip]) -> Int[Tensor, " n"]:
    return torch.tensor([len(chip) for chip in chips])
