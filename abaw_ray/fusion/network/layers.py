"""Layers whose parameters may have leading dimensions, for the models of a population: ``members`` is () for one model, or (candidates, folds).

One definition serves a single model and a population. The candidates of a fold see the same rows, so what only depends on the rows is computed once
for all of them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

Members = tuple[int, ...]
"""Leading dimensions of the parameters: () for one model, (candidates, folds) for a population."""


class Linear(nn.Module):
    """``nn.Linear`` for every member."""

    def __init__(self, inputs: int, outputs: int, members: Members = ()) -> None:
        """Allocate the parameters, initialized as those of ``nn.Linear``, the same for all members."""
        super().__init__()
        layer = nn.Linear(inputs, outputs)
        self.weight = nn.Parameter(layer.weight.detach().expand(*members, -1, -1).clone())
        self.bias = nn.Parameter(layer.bias.detach().expand(*members, -1).clone())

    def forward(self, x: Float[Tensor, "*batch n inputs"]) -> Float[Tensor, "*members n outputs"]:
        """The product with each member's weights; an input without the dimension of the candidates is the same for all of them."""
        if self.weight.ndim == 2:
            return functional.linear(x, self.weight, self.bias)
        kind = x.device.type
        if kind != "cpu" and x.ndim == self.weight.ndim:
            flat = torch.bmm(x.flatten(0, 1), self.weight.flatten(0, 1).mT)
            return flat.unflatten(0, x.shape[:2]) + self.bias[..., None, :]
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        product: Any = (_SharedProduct if x.ndim < self.weight.ndim else _MemberProduct).apply(x, self.weight, dtype)
        return product + self.bias[..., None, :]


class LayerNorm(nn.Module):
    """``nn.LayerNorm`` for every member."""

    def __init__(self, width: int, members: Members = ()) -> None:
        """Start with scale 1 and shift 0."""
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(*members, width)), nn.Parameter(torch.zeros(*members, width))

    def forward(self, x: Float[Tensor, "*members n width"]) -> Float[Tensor, "*members n width"]:
        """Rows with mean 0 and variance 1, then each member's scale and shift."""
        normalized = functional.layer_norm(x.float(), x.shape[-1:])
        return torch.addcmul(self.bias[..., None, :], normalized, self.weight[..., None, :])


class Standardizer(nn.Module):
    """Subtracts the mean and divides by the standard deviation of the training frames: buffers, saved with the model, one pair per fold."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, folds: Members = ()) -> None:
        """Start with mean 0 and standard deviation 1."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(*folds, width))
        self.register_buffer("std", torch.ones(*folds, width))

    def forward(self, vectors: Float[Tensor, "*folds n width"], present: Bool[Tensor, "*folds n"]) -> Float[Tensor, "*folds n width"]:
        """Standardized vectors; exactly 0, the mean, where the vector is missing, whatever its row holds."""
        return torch.where(present[..., None], (vectors.float() - self.mean[..., None, :]) / self.std[..., None, :], 0.0)


def member_sigmoid(x: Float[Tensor, "*members n width"]) -> Float[Tensor, "*members n width"]:
    """The sigmoid. On a CPU each member by itself, for the last few elements of an array are computed by other instructions than the rest."""
    if x.ndim == 2 or x.device.type != "cpu":
        return torch.sigmoid(x)
    return torch.stack([torch.sigmoid(one) for one in x.flatten(0, 1).unbind()]).unflatten(0, x.shape[:2])


class _SharedProduct(torch.autograd.Function):
    """Products of one input per fold with the weights of every candidate, without a copy of the input per candidate and without its gradient.

    On a CPU every product is a call of its own, so its result does not depend on how many candidates there are.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """X (folds, n, inputs), weight (candidates, folds, outputs, inputs) -> (candidates, folds, n, outputs) in ``dtype``."""
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x)
        if x.device.type != "cpu":
            return torch.einsum("fni,kfoi->kfno", x, weight)
        return _products(list(x) * len(weight), _members(weight.mT)).unflatten(0, weight.shape[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        """The gradient of the weights, in single precision."""
        (x,) = ctx.saved_tensors
        gradient = gradients[0].to(x.dtype)
        if x.device.type != "cpu":
            return None, torch.einsum("kfno,fni->kfoi", gradient, x).float(), None
        return None, _products(_members(gradient.mT), list(x) * len(gradient)).unflatten(0, gradient.shape[:2]).float(), None


class _MemberProduct(torch.autograd.Function):
    """Products of every member's input with its weights on a CPU, each a call of its own, as in ``_SharedProduct``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """X (candidates, folds, n, inputs), weight (candidates, folds, outputs, inputs) -> (candidates, folds, n, outputs) in ``dtype``."""
        ctx.x_dtype = x.dtype
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        return _products(_members(x), _members(weight.mT)).unflatten(0, x.shape[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients of the input, in its own precision, and of the weights, in single precision."""
        x, weight = ctx.saved_tensors
        gradient, members = gradients[0].to(x.dtype), x.shape[:2]
        of_x = _products(_members(gradient), _members(weight)).unflatten(0, members)
        of_weight = _products(_members(gradient.mT), _members(x)).unflatten(0, members)
        return of_x.to(ctx.x_dtype), of_weight.float(), None


def _members(stacked: Tensor) -> Sequence[Tensor]:
    """The matrices of the members."""
    return stacked.flatten(0, 1).unbind()


def _products(left: Sequence[Tensor], right: Sequence[Tensor]) -> Float[Tensor, "members n outputs"]:
    """The products of the pairs, one call each."""
    out = left[0].new_empty(len(left), left[0].shape[0], right[0].shape[1])
    for one, other, product in zip(left, right, out.unbind(), strict=True):
        torch.mm(one, other, out=product)
    return out
