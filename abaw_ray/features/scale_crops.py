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
from abaw_ray.training.copies import is_gpu, pinned


class PreparedChips(NamedTuple):
    """What the readers' threads hand over, to be copied to the encoder's device: crops, or whole chips and where to sample them."""

    pixels: UInt8[Tensor, "..."]
    sampling: Float32[Tensor, "4 n scales"] | None = None
    """Per crop: distance of the samples, position of the first one, samples per output pixel, and the last pixel of the chip."""
    oversampling: int = 1
    """Largest number of samples per output pixel."""


class ScaleCrops(Protocol):
    """Crops every scale of a batch of chips; the crops of one chip are adjacent."""

    def prepare(self, chips: list[Chip]) -> PreparedChips:
        """The part of the work that the readers' threads do."""
        ...

    def crop(self, prepared: PreparedChips) -> UInt8[Tensor, "crops 3 size size"]:
        """The crops, of what is on the encoder's device."""
        ...


class HostCrops:
    """Crops in the readers' threads, with OpenCV."""

    def __init__(self, scales: Sequence[float], chips: ChipConfig, size: int) -> None:
        """Set the scales, the settings with which the chips were cropped, and the side of a crop in pixels."""
        self._scales, self._chips, self._size = scales, chips, size

    def prepare(self, chips: list[Chip]) -> PreparedChips:
        """Crop every scale of every chip."""
        crops = np.stack([crop_scale(chip, scale, self._chips, self._size) for chip in chips for scale in self._scales])
        return PreparedChips(torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))))

    def crop(self, prepared: PreparedChips) -> UInt8[Tensor, "crops 3 size size"]:
        """The crops as they were prepared."""
        return prepared.pixels


class DeviceCrops:
    """Crops every scale on the device, to which each chip is copied once."""

    def __init__(self, scales: Sequence[float], chips: ChipConfig, size: int, device: torch.device) -> None:
        """Set the scales, the settings with which the chips were cropped, the side of a crop in pixels, and the device."""
        self._shares = torch.tensor([scale / chips.scales[-1] for scale in scales], dtype=torch.float64)
        self._size, self._device = size, device

    def prepare(self, chips: list[Chip]) -> PreparedChips:
        """Copy the chips into one array, padded at the right and bottom to the largest side; all tensors are in pinned memory."""
        largest = max(len(chip) for chip in chips)
        pixels = torch.zeros((len(chips), largest, largest, 3), dtype=torch.uint8, pin_memory=is_gpu(self._device))
        array = pixels.numpy()
        for slot, chip in zip(array, chips, strict=True):
            slot[: len(chip), : len(chip)] = chip
        sampling = self._sampling(torch.tensor([[len(chip)] for chip in chips]))
        return PreparedChips(pixels, pinned(sampling, self._device), int(sampling[2].max()))

    def crop(self, prepared: PreparedChips) -> UInt8[Tensor, "crops 3 size size"]:
        """The crops; chips and sampling are on the device."""
        pixels = prepared.pixels.permute(0, 3, 1, 2).float()
        weights = self._weights(prepared, pixels.shape[-1])[:, :, None]
        crops = weights @ pixels[:, None] @ weights.transpose(-1, -2)
        return crops.round().clamp(0, 255).to(torch.uint8).flatten(0, 1)

    def _sampling(self, sides: Int[Tensor, "n 1"]) -> Float32[Tensor, "4 n scales"]:
        """Where each crop's rows and columns are sampled in its chip (``PreparedChips.sampling``)."""
        cropped = sides.double() * self._shares
        count = (cropped / self._size).ceil()
        step = cropped / (self._size * count)
        first = (sides - cropped) / 2 + step / 2 - 0.5
        return torch.stack([step, first, count, (sides - 1).expand_as(cropped)]).float()

    def _weights(self, prepared: PreparedChips, length: int) -> Float32[Tensor, "n scales size length"]:
        """Weight of every pixel of a chip's row in every pixel of a crop's row."""
        if prepared.sampling is None:
            raise ValueError("the chips were prepared for crops on the host")
        step, first, count, last = prepared.sampling[..., None, None]
        output = torch.arange(self._size, device=self._device)[:, None]
        pixel = torch.arange(length, device=self._device)
        weights = torch.zeros((*count.shape[:2], self._size, length), device=self._device)
        for number in range(prepared.oversampling):
            position = (first + step * (output * count + number)).clamp(min=0).minimum(last)
            weights += (1 - (pixel - position).abs()).clamp(min=0) * (number < count) / count
        return weights
