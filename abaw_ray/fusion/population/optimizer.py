"""AdamW for a population: every candidate has its own learning rate and weight decay, every member its own gradient norm; and averaged weights."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from abaw_ray.fusion.config import FusionConfig

_EPS = 1e-8


class PopulationAdamW:
    """Optimizer of a model whose parameters begin with the dimensions (candidates, folds)."""

    def __init__(self, model: nn.Module, candidates: Sequence[FusionConfig]) -> None:
        """Start with averages of 0 of the gradients and their squares."""
        self.candidates = list(candidates)
        self._parameters = dict(model.named_parameters())
        self._mean = {name: torch.zeros_like(value) for name, value in self._parameters.items()}
        self._square = {name: torch.zeros_like(value) for name, value in self._parameters.items()}
        self.average = {name: value.detach().clone() for name, value in self._parameters.items()}
        """Averaged weights: those that are evaluated and kept. The initial ones are no part of them after the first update."""
        self._device = next(model.parameters()).device
        self._step, self._updates = 0, 0

    @torch.no_grad()
    def step(self, multiplier: float) -> None:
        """Clip every member's gradient, update the parameters and reset the gradients.

        Args:
            multiplier: Fraction of every learning rate in this step.
        """
        self._clip()
        for index, one in enumerate(self.candidates):
            for decayed in (True, False):
                names = [name for name in self._parameters if _is_decayed(name) == decayed]
                if names:
                    self._update(names, index, one.optim.lr * multiplier, one.optim.weight_decay if decayed else 0.0, one.optim.betas)
        for value in self._parameters.values():
            value.grad = None
        self._step += 1

    @torch.no_grad()
    def update_average(self) -> None:
        """Follow with the averaged weights; the first update replaces the initial ones."""
        decay = min(self.candidates[0].optim.average_decay, self._updates / (self._updates + 9))  # a short memory at first
        self._updates += 1
        for name, average in self.average.items():
            average.lerp_(self._parameters[name], 1 - decay)

    def _clip(self) -> None:
        gradients = [value.grad for value in self._parameters.values() if value.grad is not None]
        limit = torch.tensor([one.optim.max_grad_norm or torch.inf for one in self.candidates], device=self._device)
        factor = (limit[:, None] / (self._norms(gradients) + 1e-6)).clamp(max=1.0)
        if self._device.type != "cpu" or bool((factor < 1).any()):
            for value in gradients:
                value.mul_(factor.view(*factor.shape, *[1] * (value.ndim - 2)))

    def _norms(self, gradients: list[Tensor]) -> Float[Tensor, "candidates folds"]:
        """Norm of every member's gradient."""
        if self._device.type != "cpu":
            norms = torch.stack([torch.linalg.vector_norm(value.flatten(2), dim=2) for value in gradients])
            return torch.linalg.vector_norm(norms, dim=0)
        # A sum over one of several dimensions is rounded by the shape of the whole, so each member is summed by itself.
        members = zip(*(value.flatten(0, 1).unbind() for value in gradients), strict=True)
        norms = [torch.linalg.vector_norm(torch.stack(torch._foreach_norm(one))) for one in members]  # pyright: ignore[reportPrivateImportUsage]
        return torch.stack(norms).view(gradients[0].shape[:2])

    def _update(self, names: list[str], index: int, lr: float, weight_decay: float, betas: tuple[float, float]) -> None:
        gradients = [self._parameters[name].grad for name in names]
        steps = [torch.tensor(float(self._step + 1), device=self._device) for _ in names]
        torch._fused_adamw_(  # pyright: ignore[reportPrivateImportUsage]  (what torch.optim.AdamW calls with fused=True)
            [self._parameters[name][index] for name in names],
            [value[index] for value in gradients if value is not None],
            [self._mean[name][index] for name in names],
            [self._square[name][index] for name in names],
            [],
            steps,
            lr=lr,
            beta1=betas[0],
            beta2=betas[1],
            weight_decay=weight_decay,
            eps=_EPS,
            amsgrad=False,
            maximize=False,
        )

    def keep(self, model: nn.Module, kept: Int[Tensor, " candidates"]) -> None:
        """Continue with these candidates alone; ``model`` has their parameters already."""
        self.candidates = [self.candidates[index] for index in kept.tolist()]
        self._parameters = dict(model.named_parameters())
        for state in (self._mean, self._square, self.average):
            for name, value in state.items():
                state[name] = value[kept].clone()


def _is_decayed(name: str) -> bool:
    """Whether the parameter is a matrix; biases and norms have no weight decay."""
    return name.endswith("weight") and "norm" not in name
