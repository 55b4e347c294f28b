"""The score on validation images: counts that add up over batches and ranks, and the figures read off them."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.encoder.moe import Routed, entropy


class Counts:
    """Sums over images, in one vector, so that the ranks add them in one step."""

    def __init__(self, classes: int, experts: int) -> None:
        """Begin with nothing counted."""
        self.classes, self.experts = classes, experts
        self.sums = torch.zeros(classes * classes + 3 + experts, dtype=torch.float64)

    def add(self, routed: Routed, labels: Int[Tensor, " n"]) -> None:
        """Count the head's output for some images; the cross-entropy is that of plain labels, without any class weight."""
        cells = self.classes**2
        logits, gate = routed.logits.float().cpu(), routed.gate.float().cpu()
        self.sums[:cells] += torch.bincount(labels * self.classes + logits.argmax(dim=1), minlength=cells)
        self.sums[cells] += len(labels)
        self.sums[cells + 1] += functional.cross_entropy(logits, labels, reduction="sum")
        self.sums[cells + 2] += entropy(routed.router.float().cpu()).sum()
        self.sums[cells + 3 :] += gate.sum(dim=0)

    def figures(self, names: Sequence[str]) -> dict:
        """Macro-F1 (of the classes that occur), accuracy, F1 by class, loss, and what the router does.

        ``router_load`` is the entropy of the experts' shares (1: equally busy), ``router_choice`` the mean entropy of its choice for one image
        (0: certain), both as fractions of the largest possible.
        """
        cells = self.classes**2
        confusion = self.sums[:cells].view(self.classes, self.classes)
        hit = confusion.diagonal()
        times = confusion.sum(dim=0) + confusion.sum(dim=1)
        scores = 2 * hit / times.clamp(min=1)
        count = max(float(self.sums[cells]), 1.0)
        load = self.sums[cells + 3 :]
        return {
            "macro_f1": float(scores.sum() / (times > 0).sum().clamp(min=1)),
            "accuracy": float(hit.sum() / count),
            "per_class": dict(zip(names, scores.tolist(), strict=True)),
            "val_loss": float(self.sums[cells + 1] / count),
            "val_images": int(count),
            "router_choice": float(self.sums[cells + 2] / count),
            "router_load": float(entropy(load / load.sum().clamp(min=1e-12))),
        }
