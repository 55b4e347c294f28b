"""Names of subjects, their splits and folds -> the encoders to train, each with the subjects that train it and those that it must not have seen."""

from collections.abc import Mapping
from dataclasses import dataclass

OFFICIAL = "official"
"""The encoder of the protocol ``official``."""


@dataclass(frozen=True, kw_only=True)
class FoldEncoder:
    """One encoder per protocol and fold."""

    name: str
    """``official``, or ``cv-`` and the number of the fold that it must not have seen."""
    train: frozenset[str]
    """Subjects whose chips may train it."""
    held_out: frozenset[str]
    """Subjects that are scored with its features."""

    @property
    def by_recording(self) -> bool:
        """Whether no recording may be on both sides, as in ``cv``; the official split itself divides some recordings."""
        return self.name != OFFICIAL


def cv_name(fold: int) -> str:
    """Name of the encoder for one fold of ``cv``."""
    return f"cv-{fold}"


def fold_encoders(splits: Mapping[str, str], folds: Mapping[str, int]) -> tuple[FoldEncoder, ...]:
    """``official``, trained on all of Train_Set, then one encoder per fold of train and validation, trained on all other folds.

    Args:
        splits: Split of each annotated subject; others are ignored.
        folds: Fold of each annotated subject.
    """
    train, val = (frozenset(name for name in folds if splits[name] == split) for split in ("train", "val"))
    encoders = [FoldEncoder(name=OFFICIAL, train=train, held_out=val)]
    for fold in sorted(set(folds.values())):
        held_out = frozenset(name for name, number in folds.items() if number == fold)
        encoders.append(FoldEncoder(name=cv_name(fold), train=frozenset(folds) - held_out, held_out=held_out))
    return tuple(encoders)
