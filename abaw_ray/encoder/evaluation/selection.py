"""Which epoch's encoder is used: the best on the validation images, or the last."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from abaw_ray.encoder.config import Select


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The selected epoch, counted from 1, and the two candidates."""

    select: Select
    """The setting."""
    best_epoch: int
    """The first epoch with the highest mean macro-F1 over the data sets."""
    last_epoch: int
    """The last epoch."""

    @property
    def epoch(self) -> int:
        """The selected epoch."""
        return self.best_epoch if self.select == "best" else self.last_epoch

    @property
    def other_epoch(self) -> int:
        """The candidate that is not selected; the same where the last epoch is the best."""
        return self.last_epoch if self.select == "best" else self.best_epoch

    def figures(self) -> dict[str, Any]:
        """The fields and the selected epoch."""
        return asdict(self) | {"epoch": self.epoch}


def best_epoch(curve: Sequence[Mapping[str, Any]]) -> int:
    """The first epoch, counted from 1, with the highest mean macro-F1 over the data sets; 0 before the first."""
    scores = [epoch["mean_macro_f1"] for epoch in curve]
    return scores.index(max(scores)) + 1 if scores else 0


def select_epoch(curve: Sequence[Mapping[str, Any]], select: Select) -> Selection:
    """The selection after the last epoch."""
    return Selection(select=select, best_epoch=best_epoch(curve), last_epoch=len(curve))
