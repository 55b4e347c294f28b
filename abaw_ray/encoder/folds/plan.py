"""Names of subjects, their splits and folds -> the encoders to train, each with the subjects that train it and those that it must not have seen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from abaw_ray.core.errors import StageError
from abaw_ray.data.subjects import recording_of

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

    def check(self, subjects: Collection[str]) -> None:
        """Refuse to train it on images of these subjects, if one of them is held out, or in ``cv`` another subject of a held-out recording.

        In ``official``, recordings are not compared, because the official split itself divides some of them.

        Raises:
            StageError: names the subject.
        """
        others = sorted(set(subjects) - self.train)
        if others:
            raise StageError(f"fold_encoders: '{others[0]}' is among the images of {self.name}, which must not see it; delete this stage's outputs")
        if self.name == OFFICIAL:
            return
        held_out = {recording_of(name): name for name in self.held_out}
        shared = sorted(name for name in subjects if recording_of(name) in held_out)
        if shared:
            other = held_out[recording_of(shared[0])]
            raise StageError(f"fold_encoders: '{shared[0]}' is among the images of {self.name}, and '{other}' of its recording is held out from it")


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
