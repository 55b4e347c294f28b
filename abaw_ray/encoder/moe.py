"""Mixture-of-experts classifier: encoder features in, logits out, with what the router did beside them. It exists in training only.

All experts are ONE stacked parameter and all are computed; the gate masks them. Separate expert modules, called only by the ranks whose
samples reach them, get each other's gradients under ZeRO 1 and 2. At the size of a head computing all of them costs nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MoeConfig:
    """The head. "A router sends each sample to several classifier experts" is the paper's; all numbers are ours."""

    experts: int = 4
    """Number of experts; 1 is a plain classifier."""
    active: int = 2
    """Experts that a sample reaches."""
    hidden: int = 256
    """Width of an expert's hidden layer; 0 makes each expert a linear classifier, under which a small encoder learns from scratch in half
    the epochs."""
    balance: float = 0.01
    """Weight of the loss that keeps the experts equally busy (the usual value: Fedus et al., Switch Transformers, 2021)."""
    dropout: float = 0.1
    """Dropout of the features before the experts."""

    def __post_init__(self) -> None:
        """Refuse a router without a choice."""
        if not 1 <= self.active <= self.experts:
            raise ConfigError(f"moe.active={self.active} must lie between 1 and moe.experts={self.experts}")
        if self.hidden < 0 or self.balance < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(f"moe: hidden={self.hidden}, balance={self.balance} and dropout={self.dropout} (below 1) must be at least 0")


class Routed(NamedTuple):
    """The head's output."""

    logits: Float[Tensor, "n classes"]
    router: Float[Tensor, "n experts"]
    """The router's probabilities."""
    gate: Float[Tensor, "n experts"]
    """Weights of the experts in the logits: 0 for those that were not chosen."""


class MoeHead(nn.Module):
    """Router and experts, each with one hidden layer or none."""

    def __init__(self, dim: int, classes: int, config: MoeConfig) -> None:
        """Draw the weights; ``dim`` is the width of the features."""
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)
        self.router = nn.Linear(dim, config.experts)
        if config.hidden:
            self.in_weight = nn.Parameter(torch.empty(config.experts, dim, config.hidden))
            self.in_bias = nn.Parameter(torch.zeros(config.experts, config.hidden))
        self.out_weight = nn.Parameter(torch.empty(config.experts, config.hidden or dim, classes))
        self.out_bias = nn.Parameter(torch.zeros(config.experts, classes))
        nn.init.trunc_normal_(self.router.weight, std=0.02)
        nn.init.zeros_(self.router.bias)
        if config.hidden:
            nn.init.trunc_normal_(self.in_weight, std=1 / math.sqrt(dim))
        nn.init.trunc_normal_(self.out_weight, std=1 / math.sqrt(config.hidden or dim))

    def forward(self, features: Float[Tensor, "n dim"]) -> Routed:
        """Classify; with several active experts their gates are made to sum to 1, a single one keeps the router's own probability."""
        features = self.norm(features)
        router = self.router(features).float().softmax(dim=1)
        best = router.topk(self.config.active, dim=1).indices
        gate = router * torch.zeros_like(router).scatter(1, best, 1.0)
        if self.config.active > 1:
            gate = gate / gate.sum(dim=1, keepdim=True)
        voices = self._voices(self.dropout(features))
        return Routed(torch.einsum("nec,ne->nc", voices.float(), gate), router, gate)

    def _voices(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n experts classes"]:
        """What each expert says."""
        if not self.config.hidden:
            return torch.einsum("nd,edc->nec", features, self.out_weight) + self.out_bias
        hidden = functional.gelu(torch.einsum("nd,edh->neh", features, self.in_weight) + self.in_bias)
        return torch.einsum("neh,ehc->nec", hidden, self.out_weight) + self.out_bias


def same(values: Tensor) -> Tensor:
    """The mean over ranks where there is one rank."""
    return values


def balance_loss(routed: Routed, mean_over_ranks: Callable[[Tensor], Tensor] = same) -> Float[Tensor, ""]:
    """Experts x sum over experts of (share of choices that fell on it) x (mean probability given to it): 1 when all are equally busy.

    Args:
        routed: This rank's samples; every rank has equally many.
        mean_over_ranks: Replaces a vector by its mean over all ranks. The shares carry no gradient and are those of all ranks together; the loss
            is linear in the probabilities, so the mean of the ranks' losses, and of their gradients, is that of the joined batch.

    Source: Fedus et al., Switch Transformers (2021), equation 4, for several active experts.
    """
    chosen = (routed.gate.detach() > 0).float()
    shares = mean_over_ranks(chosen.mean(dim=0)) / chosen.sum(dim=1).mean().clamp(min=1)
    return routed.router.shape[1] * (shares * routed.router.mean(dim=0)).sum()


def entropy(shares: Float[Tensor, "... experts"]) -> Float[Tensor, "..."]:
    """Entropy of shares over experts, as a fraction of the largest possible: 1 equally busy or undecided, 0 a single one."""
    experts = shares.shape[-1]
    if experts == 1:
        return torch.ones(shares.shape[:-1])
    return -(shares * shares.clamp(min=1e-12).log()).sum(dim=-1) / math.log(experts)
