"""Validation metrics: sums that are additive over batches and ranks, and the metrics computed from them."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.encoder.moe import MoeOutput, normalized_entropy


class ValidationSums:
    """Sums over images in one vector, so that the ranks add them in one all-reduce."""

    def __init__(self, classes: int, experts: int) -> None:
        """Start with zeros."""
        self.classes, self.experts = classes, experts
        self.sums = torch.zeros(classes * classes + 3 + experts, dtype=torch.float64)

    def add(self, output: MoeOutput, labels: Int[Tensor, " n"]) -> None:
        """Add the head's output for a batch of images; the cross-entropy has no class weights and no label smoothing."""
        cells = self.classes**2
        logits, gate = output.logits.float().cpu(), output.gate.float().cpu()
        self.sums[:cells] += torch.bincount(labels * self.classes + logits.argmax(dim=1), minlength=cells)
        self.sums[cells] += len(labels)
        self.sums[cells + 1] += functional.cross_entropy(logits, labels, reduction="sum")
        self.sums[cells + 2] += normalized_entropy(output.router_probs.float().cpu()).sum()
        self.sums[cells + 3 :] += gate.sum(dim=0)

    def metrics(self, names: Sequence[str]) -> dict:
        """Macro-F1 (of the classes that occur), accuracy, F1 per class, loss, and statistics of the router.

        ``router_load_entropy`` is the entropy of the experts' total gate weights (1: balanced load), ``router_choice_entropy`` the mean entropy
        of the router's distribution for one image (0: certain); both are fractions of the maximum.
        """
        cells = self.classes**2
        confusion = self.sums[:cells].view(self.classes, self.classes)
        true_positives = confusion.diagonal()
        denominators = confusion.sum(dim=0) + confusion.sum(dim=1)
        f1 = 2 * true_positives / denominators.clamp(min=1)
        count = max(float(self.sums[cells]), 1.0)
        load = self.sums[cells + 3 :]
        return {
            "macro_f1": float(f1.sum() / (denominators > 0).sum().clamp(min=1)),
            "accuracy": float(true_positives.sum() / count),
            "per_class": dict(zip(names, f1.tolist(), strict=True)),
            "val_loss": float(self.sums[cells + 1] / count),
            "val_images": int(count),
            "router_choice_entropy": float(self.sums[cells + 2] / count),
            "router_load_entropy": float(normalized_entropy(load / load.sum().clamp(min=1e-12))),
        }
