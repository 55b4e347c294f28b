"""Validation metrics: sums that are additive over batches and ranks, and the metrics computed from them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from abaw_ray.encoder.evaluation.sets import ValidationSet
from abaw_ray.encoder.moe import MoeOutput, normalized_entropy


class ValidationSums:
    """Sums over images in one vector, so that the ranks add them in one all-reduce."""

    def __init__(self, classes: int, experts: int, sets: Sequence[ValidationSet] = ()) -> None:
        """Start with zeros."""
        self.classes, self.sets = classes, tuple(sets)
        self._shapes = {
            "confusion": (classes, classes),
            "totals": (3,),  # images, cross-entropy, entropy of the router's distribution
            "gate": (experts,),
            "selected": (classes, experts),
            "sets": (len(self.sets), classes, classes),
        }
        self.sums = torch.zeros(sum(math.prod(shape) for shape in self._shapes.values()), dtype=torch.float64)

    def _part(self, name: str) -> Tensor:
        """A view of the sums of this name."""
        start = 0
        for each, shape in self._shapes.items():
            if each == name:
                return self.sums[start : start + math.prod(shape)].view(shape)
            start += math.prod(shape)
        raise KeyError(name)

    def add(self, output: MoeOutput, labels: Int[Tensor, " n"], sources: np.ndarray) -> None:
        """Add the head's output for a batch of images; the cross-entropy has no class weights and no label smoothing.

        Args:
            output: The head's output.
            labels: Classes of the images.
            sources: Data sets of the images.
        """
        logits, gate = output.logits.float().cpu(), output.gate.float().cpu()
        self._part("confusion").add_(count_confusions(labels, logits.argmax(dim=1), self.classes))
        losses = functional.cross_entropy(logits, labels, reduction="sum")
        entropies = normalized_entropy(output.router_probs.float().cpu())
        self._part("totals").add_(torch.stack([torch.tensor(float(len(labels))), losses, entropies.sum()]))
        self._part("gate").add_(gate.sum(dim=0))
        self._part("selected").index_add_(0, labels, (gate > 0).double())
        for number, each in enumerate(self.sets):
            rows = torch.from_numpy(each.rows(sources, labels.numpy()))
            self._part("sets")[number].add_(count_confusions(labels[rows], each.predictions(logits[rows]), self.classes))

    def metrics(self, names: Sequence[str]) -> dict:
        """Scores over all images and per data set, loss, and statistics of the router.

        ``macro_f1``, ``accuracy`` and ``per_class`` are over all images and all classes. ``data_sets`` has scores by the name of the validation set,
        ``mean_macro_f1`` is the mean over data sets, each with all of its classes: a large data set counts as much as a small one.

        ``router_load_entropy`` is the entropy of the experts' total gate weights (1: balanced load), ``router_choice_entropy`` the mean entropy
        of the router's distribution for one image (0: certain); both are fractions of the maximum. ``router_use`` is the fraction of images for
        which the router selects each expert, ``router_use_per_class`` that of the images of a class.
        """
        total = scores_of(self._part("confusion"))
        count, loss, choice_entropy = self._part("totals").tolist()
        gate, selected = self._part("gate"), self._part("selected")
        per_class = self._part("confusion").sum(dim=1)
        by_set = {each.name: scores_of(cells) for each, cells in zip(self.sets, self._part("sets"), strict=True)}
        main = [by_set[each.name]["macro_f1"] for each in self.sets if each.is_main]
        return {
            "macro_f1": total["macro_f1"],
            "accuracy": total["accuracy"],
            "per_class": dict(zip(names, f1_of_classes(self._part("confusion")).tolist(), strict=True)),
            "data_sets": by_set,
            "mean_macro_f1": sum(main) / len(main) if main else total["macro_f1"],
            "val_loss": loss / max(count, 1),
            "val_images": int(count),
            "router_choice_entropy": choice_entropy / max(count, 1),
            "router_load_entropy": float(normalized_entropy(gate / gate.sum().clamp(min=1e-12))),
            "router_use": (selected.sum(dim=0) / max(count, 1)).tolist(),
            "router_use_per_class": dict(zip(names, (selected / per_class.clamp(min=1)[:, None]).tolist(), strict=True)),
        }


def count_confusions(labels: Int[Tensor, " n"], predicted: Int[Tensor, " n"], classes: int) -> Int[Tensor, "{classes} {classes}"]:
    """Number of images by label (rows) and prediction (columns)."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)


def scores_of(confusion: Float[Tensor, "classes classes"]) -> dict:
    """Macro-F1 of the classes that occur as label or prediction, accuracy, and number of images."""
    occurs = confusion.sum(dim=0) + confusion.sum(dim=1) > 0
    count = float(confusion.sum())
    return {
        "macro_f1": float(f1_of_classes(confusion).sum() / occurs.sum().clamp(min=1)),
        "accuracy": float(confusion.diagonal().sum()) / max(count, 1.0),
        "images": int(count),
    }


def f1_of_classes(confusion: Float[Tensor, "classes classes"]) -> Float[Tensor, " classes"]:
    """F1 per class; 0 for a class that does not occur."""
    return 2 * confusion.diagonal() / (confusion.sum(dim=0) + confusion.sum(dim=1)).clamp(min=1)


def scalars_of(epoch: Mapping[str, Any]) -> dict[str, float]:
    """The scores of an epoch, and the use of the experts, as curves by name."""
    names = ("macro_f1", "mean_macro_f1", "accuracy", "val_loss", "router_choice_entropy", "router_load_entropy")
    curves = {f"val/{name.removeprefix('val_')}": epoch[name] for name in names}
    curves |= {f"val_f1/{name}": value for name, value in epoch["per_class"].items()}
    curves |= {f"{kind}/{name}": scores[kind] for name, scores in epoch["data_sets"].items() for kind in ("macro_f1", "accuracy")}
    return curves | {f"router_use/expert_{number}": value for number, value in enumerate(epoch["router_use"], start=1)}
