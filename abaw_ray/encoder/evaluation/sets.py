"""Validation sets of Stage I: for each data set, the images and the classes over which its scores are published.

RAF-DB has no Contempt, and AffectNet is published with it (AffectNet-8) and without it (AffectNet-7). A prediction is therefore the most probable
class among those of the validation set, not among all classes of the encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_NAMES: dict[str, str] = {"affectnet": "AffectNet", "rafdb": "RAF-DB"}
"""Published names of the sources."""
_OPTIONAL_CLASS = "Contempt"
"""Class without which a data set that has it is scored a second time."""


@dataclass(frozen=True, kw_only=True)
class ValidationSet:
    """Validation images of one data set, scored over some classes."""

    name: str
    """For people; where a data set is scored with and without Contempt, it ends with the number of classes."""
    source: str
    """Source of its images."""
    classes: tuple[int, ...]
    """Indices of its classes among the encoder's; images of other classes do not belong to the set."""
    is_main: bool = True
    """Whether it has all classes of the data set; each data set has one such set."""

    def rows(self, sources: np.ndarray, labels: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Which of these images belong to the set."""
        return (sources == self.source) & np.isin(labels, self.classes)

    def predictions(self, logits: Float[Tensor, "n classes"]) -> Int[Tensor, " n"]:
        """The most probable class of the set for each image, as an index among the encoder's classes."""
        classes = torch.tensor(self.classes)
        return classes[logits[:, classes].argmax(dim=1)]


def validation_sets(
    labels: Int[np.ndarray, " n"], sources: np.ndarray, val: Int[np.ndarray, " m"], names: Sequence[str]
) -> tuple[ValidationSet, ...]:
    """The validation sets of all data sets with validation images, sorted by name.

    Args:
        labels: Classes of the images of both splits; the classes of a data set are those of all of its images.
        sources: Data sets of the images.
        val: Row numbers of the validation images.
        names: Names of the encoder's classes.
    """
    sets = []
    for source in sorted(map(str, set(sources[val]))):
        classes = tuple(np.unique(labels[sources == source]).tolist())
        smaller = tuple(index for index in classes if names[index] != _OPTIONAL_CLASS)
        name = _NAMES.get(source, source)
        counted = len(smaller) < len(classes) or source == "affectnet"
        sets.append(ValidationSet(name=f"{name}-{len(classes)}" if counted else name, source=source, classes=classes))
        if smaller and len(smaller) < len(classes):
            sets.append(ValidationSet(name=f"{name}-{len(smaller)}", source=source, classes=smaller, is_main=False))
    return tuple(sorted(sets, key=lambda each: each.name))
