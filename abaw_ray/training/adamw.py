"""AdamW whose learning rate may differ within a tensor, so that layer-wise rates need two parameter groups instead of two per layer.

ZeRO replaces the parameters of a group by one flat tensor, of which every rank holds a part; a group costs it device synchronizations in every
step. ``set_slices`` gives the factors of the learning rate for the ranges of such a tensor.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from abaw_ray.training.config import OptimConfig


class Slice(NamedTuple):
    """A range of a flattened tensor with one learning rate."""

    start: int
    stop: int
    lr_scale: float
    """Its learning rate over that of the group."""


class SlicedAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019), fused, with a learning rate per range of a tensor.

    A group has ``lr``, ``weight_decay`` and optionally ``lr_scales``, one factor for each of its ``params``. The state of a tensor is ``exp_avg``,
    ``exp_avg_sq`` and ``step``: the conversion of DeepSpeed's checkpoints to another number of ranks drops anything else.
    """

    def __init__(self, param_groups: Iterable[dict], config: OptimConfig, *, eps: float = 1e-8) -> None:
        """Take over the groups; ``config``: rate and decay of groups without their own, and the decay rates of the averages."""
        super().__init__(list(param_groups), {"lr": config.lr, "weight_decay": config.weight_decay, "betas": config.betas, "eps": eps})
        self._slices: dict[Tensor, tuple[Slice, ...]] = {}
        self._steps = True
        for group in self.param_groups:
            for parameter, scale in zip(group["params"], group.get("lr_scales", [1.0] * len(group["params"])), strict=True):
                self.set_slices(parameter, [Slice(0, parameter.numel(), scale)])

    def set_slices(self, parameter: Tensor, slices: Sequence[Slice]) -> None:
        """Set the factors of the learning rate within a contiguous tensor; elements outside of all slices, such as padding, are not updated.

        Raises:
            ValueError: the slices overlap or exceed the tensor.
        """
        ordered = _merged(sorted(piece for piece in slices if piece.stop > piece.start))
        ends = [0, *(piece.stop for piece in ordered)]
        if any(piece.start < end for piece, end in zip(ordered, ends, strict=False)) or ends[-1] > parameter.numel():
            raise ValueError(f"slices that begin with {ordered[:3]} overlap or exceed the tensor's {parameter.numel()} elements")
        self._slices[parameter] = tuple(ordered)

    @contextmanager
    def without_steps(self) -> Iterator[None]:
        """While the block runs, ``step`` changes nothing."""
        self._steps = False
        try:
            yield
        finally:
            self._steps = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update every tensor that has a gradient, without synchronizing the device; ``closure`` must be None."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        if not self._steps:
            return
        for group in self.param_groups:
            for scale, pieces in _by_scale(self._pieces(group)).items():
                parameters, gradients, means, squares, steps = map(list, zip(*pieces, strict=True))
                # The functional interface would count one step for every slice of a tensor.
                torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]
                    parameters,
                    gradients,
                    means,
                    squares,
                    [],
                    steps,
                    lr=group["lr"] * scale,
                    beta1=group["betas"][0],
                    beta2=group["betas"][1],
                    weight_decay=group["weight_decay"],
                    eps=group["eps"],
                    amsgrad=False,
                    maximize=False,
                )

    def _pieces(self, group: dict) -> Iterator[tuple[float, tuple[Tensor, ...]]]:
        """Factor of the learning rate, and parameter, gradient, averages and step count, of every slice of a group; counts the step."""
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            flat = [tensor.view(-1) for tensor in (parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"])]
            for piece in self._slices.get(parameter, (Slice(0, parameter.numel(), 1.0),)):
                yield piece.lr_scale, (*(tensor[piece.start : piece.stop] for tensor in flat), state["step"])


def _by_scale(pieces: Iterable[tuple[float, tuple[Tensor, ...]]]) -> dict[float, list[tuple[Tensor, ...]]]:
    """The pieces by factor: those with the same one are updated in one call."""
    grouped: dict[float, list[tuple[Tensor, ...]]] = {}
    for scale, tensors in pieces:
        grouped.setdefault(scale, []).append(tensors)
    return grouped


def _merged(slices: Sequence[Slice]) -> list[Slice]:
    """Adjacent slices with one factor as one."""
    merged: list[Slice] = []
    for piece in slices:
        if merged and merged[-1].stop == piece.start and merged[-1].lr_scale == piece.lr_scale:
            merged[-1] = merged[-1]._replace(stop=piece.stop)
        else:
            merged.append(piece)
    return merged
