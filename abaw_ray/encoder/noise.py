"""Random numbers of stochastic depth and dropout, drawn for all samples of a step at once and cut like the samples.

PyTorch's own layers draw from a generator in the order in which batches pass, so their masks depend on the number of ranks and micro-batches. Here a
mask depends on (seed, step, position in the step's samples) alone.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from torch import Tensor, nn

_STREAM = 0x64726F70
"""Separates these numbers from those of the augmentation, which has the same seeds."""


class NoiseSizes(NamedTuple):
    """Numbers that a model needs per sample."""

    paths: int = 0
    """Layers with stochastic depth."""
    features: int = 0
    """Elements of the encoder's vector; 0 where the head has no dropout."""


class Noise(NamedTuple):
    """Uniform numbers from 0 to 1 of some samples of a step."""

    paths: Float[Tensor, "n paths"]
    """One per layer with stochastic depth."""
    features: Float[Tensor, "n dim"]
    """One per element of the encoder's vector, for the head's dropout."""

    def of(self, samples: slice) -> "Noise":
        """The numbers of some of the samples."""
        return Noise(self.paths[samples], self.features[samples])

    def to(self, device: str | torch.device) -> "Noise":
        """The same numbers on a device."""
        return Noise(*(values.to(device, non_blocking=True) for values in self))


def draw_noise(seed: int, step: int, batch_size: int, sizes: NoiseSizes) -> Noise:
    """The numbers of all samples of a step, over all ranks.

    Args:
        seed: Seed of the run.
        step: Index of the step.
        batch_size: Samples of a step.
        sizes: Numbers per sample.
    """
    values = np.random.default_rng([_STREAM, seed, step]).random((batch_size, sum(sizes)), dtype=np.float32)
    paths, features = np.split(values, [sizes.paths], axis=1)
    return Noise(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (paths, features)))


class StochasticDepth(nn.Module):
    """Drops a residual branch of whole samples (Huang et al., Deep networks with stochastic depth, 2016), by numbers that are set before."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.factors: Float[Tensor, " n"] | None = None
        """The next batch's factors of the branch: 0 for dropped samples."""

    def forward(self, branch: Tensor) -> Tensor:
        """The branch, zero for dropped samples and scaled for the others; unchanged outside of training.

        Raises:
            RuntimeError: the numbers of this batch were not set.
        """
        if not self.training:
            return branch
        return _times(branch, self.factors)

    def extra_repr(self) -> str:
        """The probability."""
        return f"probability={self.probability:.3f}"


def drop(values: Tensor, probability: float, uniform: Tensor | None) -> Tensor:
    """The values times a mask, scaled to keep their expectation; a mask with fewer axes applies to whole samples.

    Raises:
        RuntimeError: there are no numbers for this batch.
    """
    return _times(values, None if uniform is None else (uniform >= probability).to(values.dtype) / (1 - probability))


def _times(values: Tensor, factors: Tensor | None) -> Tensor:
    if factors is None or len(factors) != len(values):
        raise RuntimeError("the random numbers of this batch are missing; pass the noise of its samples to the model")
    return values * factors.to(values.dtype).view(*factors.shape, *[1] * (values.ndim - factors.ndim))


def use_stochastic_depth(vit: nn.Module) -> list[StochasticDepth]:
    """Replace timm's layers of stochastic depth in a model; returns the new ones in their order, lowest block first."""
    owners = [(owner, name, child) for owner in vit.modules() for name, child in owner.named_children() if isinstance(child, DropPath)]
    layers = [StochasticDepth(child.drop_prob) for _, _, child in owners]
    for (owner, name, _), layer in zip(owners, layers, strict=True):
        setattr(owner, name, layer.train(owner.training))
    return layers


def set_noise(layers: list[StochasticDepth], paths: Float[Tensor, "n paths"] | None) -> None:
    """Set the numbers of the next batch; None outside of training.

    The layers get factors, not numbers: a compiled block would have its layer's probability as a constant, and each layer a graph of its own.
    """
    columns: Any = [None] * len(layers)
    if paths is not None and layers:
        probabilities = tuple(layer.probability for layer in layers)
        columns = ((paths >= _row(probabilities, paths.device)) / _row(tuple(1 - p for p in probabilities), paths.device)).unbind(dim=1)
    for layer, column in zip(layers, columns, strict=True):
        layer.factors = column


@lru_cache(maxsize=64)
def _row(values: tuple[float, ...], device: torch.device) -> Float[Tensor, " n"]:
    """The values on a device; kept, because a copy of pageable memory makes the host wait."""
    return torch.tensor(values, device=device)
