"""Mixture-of-experts classifier: encoder features -> logits, router probabilities and gate weights. Used in training only.

All experts are one stacked parameter and all are computed; the gate masks them. Separate expert modules, called only by the ranks whose
samples reach them, receive each other's gradients under ZeRO 1 and 2. For a head of this size the cost of computing all experts is negligible.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from abaw_ray.encoder.config import MoeConfig
from abaw_ray.encoder.noise import drop


class MoeOutput(NamedTuple):
    """The head's output."""

    logits: Float[Tensor, "n classes"]
    router_probs: Float[Tensor, "n experts"]
    """Softmax of the router's logits."""
    gate: Float[Tensor, "n experts"]
    """Weights of the experts in the logits: 0 for experts that the router did not select."""


class MoeHead(nn.Module):
    """Router and experts, each with one hidden layer or none."""

    def __init__(self, dim: int, classes: int, config: MoeConfig) -> None:
        """Initialize the weights; ``dim`` is the width of the features."""
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(dim)
        self.router = nn.Linear(dim, config.num_experts)
        if config.hidden_dim:
            self.in_weight = nn.Parameter(torch.empty(config.num_experts, dim, config.hidden_dim))
            self.in_bias = nn.Parameter(torch.zeros(config.num_experts, config.hidden_dim))
        self.out_weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_dim or dim, classes))
        self.out_bias = nn.Parameter(torch.zeros(config.num_experts, classes))
        nn.init.trunc_normal_(self.router.weight, std=0.02)
        nn.init.zeros_(self.router.bias)
        if config.hidden_dim:
            nn.init.trunc_normal_(self.in_weight, std=1 / math.sqrt(dim))
        nn.init.trunc_normal_(self.out_weight, std=1 / math.sqrt(config.hidden_dim or dim))

    def forward(self, features: Float[Tensor, "n dim"], uniform: Float[Tensor, "n dim"] | None = None) -> MoeOutput:
        """Logits, router probabilities and gate; with top_k above 1 the gate is normalized to sum 1, with 1 it is the router's probability.

        Args:
            features: The encoder's vectors.
            uniform: In training, numbers from 0 to 1 for dropout.

        Raises:
            RuntimeError: the numbers are missing in training with dropout.
        """
        features = self.norm(features)
        router_probs = self.router(features).float().softmax(dim=1)
        selected = router_probs.topk(self.config.top_k, dim=1).indices
        gate = router_probs * torch.zeros_like(router_probs).scatter(1, selected, 1.0)
        if self.config.top_k > 1:
            gate = gate / gate.sum(dim=1, keepdim=True)
        if self.training and self.config.dropout:
            features = drop(features, self.config.dropout, uniform)
        expert_logits = self._expert_logits(features)
        return MoeOutput(torch.einsum("nec,ne->nc", expert_logits.float(), gate), router_probs, gate)

    def _expert_logits(self, features: Float[Tensor, "n dim"]) -> Float[Tensor, "n experts classes"]:
        """Logits of every expert."""
        if not self.config.hidden_dim:
            return torch.einsum("nd,edc->nec", features, self.out_weight) + self.out_bias
        hidden = functional.gelu(torch.einsum("nd,edh->neh", features, self.in_weight) + self.in_bias)
        return torch.einsum("neh,ehc->nec", hidden, self.out_weight) + self.out_bias


def identity(values: Tensor) -> Tensor:
    """The mean over ranks for a single rank: the values themselves."""
    return values


class ExpertLoad:
    """Load balancing of the experts over whole steps: fractions of the selections in the last step, and the loss of the next one.

    The loss is num_experts x sum over experts of (fraction of selections) x (mean router probability); 1 is balanced (Fedus et al., Switch
    Transformers, 2021, equation 4, extended to top_k above 1). There the fractions are those of the same batch. They carry no gradient, so those of
    the step before serve as well, and then the loss of a step does not depend on how its samples are divided into ranks and micro-batches.
    """

    def __init__(self, experts: int, device: str = "cpu", fractions: Sequence[float] | None = None) -> None:
        """Begin with balanced experts, or with the ``fractions`` of a checkpoint."""
        self.fractions: Float[Tensor, " experts"] = torch.tensor(fractions or [1 / experts] * experts, dtype=torch.float32).to(device)
        self._selected: list[Tensor] = []

    def loss(self, output: MoeOutput) -> Float[Tensor, ""]:
        """The loss of some samples; linear in the probabilities, so its mean over equal parts of a step is that of the step."""
        self._selected.append((output.gate.detach() > 0).float().mean(dim=0))
        return len(self.fractions) * (self.fractions * output.router_probs.mean(dim=0)).sum()

    def end_step(self, mean_over_ranks: Callable[[Tensor], Tensor] = identity) -> None:
        """Take over the fractions of the step's samples on all ranks, which call this together; nothing is read from the device."""
        selected = mean_over_ranks(torch.stack(self._selected).mean(dim=0))
        self.fractions, self._selected = selected / selected.sum(), []


def normalized_entropy(fractions: Float[Tensor, "*any experts"]) -> Float[Tensor, "*any"]:
    """Entropy over the experts as a fraction of its maximum: 1 for a uniform distribution, 0 for a single expert."""
    experts = fractions.shape[-1]
    if experts == 1:
        return torch.ones(fractions.shape[:-1])
    return -(fractions * fractions.clamp(min=1e-12).log()).sum(dim=-1) / math.log(experts)
