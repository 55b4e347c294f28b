"""Names of Aff-Wild2 subjects -> raw video, side of the frame, and recording.

Works on names only (``docs/data.md``, section 1); no file is read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Split = Literal["train", "val", "test"]
Side = Literal["left", "right", ""]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One annotated subject of a video, or one subject of the test release."""

    name: str
    """The annotation's name, with its suffix; the ``track`` of the subject's ``FACE`` rows."""
    video: str
    """File name of the raw video without its suffix."""
    side: Side
    """Side of the frame, for one of two subjects; empty where the video has one named subject."""
    split: Split


def raw_video(name: str) -> str:
    """File name of the raw video, without suffix: the subject's name without ``_left`` or ``_right``."""
    return name.removesuffix("_left") if name.endswith("_left") else name.removesuffix("_right")


def side_of(name: str, names: Iterable[str]) -> Side:
    """Side of a subject, from its suffix or from the suffix of the other subject of the video.

    Args:
        name: The subject.
        names: All names of all splits; a subject without suffix is the left one where ``<name>_right`` exists, the right one where
            ``<name>_left`` does, and the only one where neither or both do (the latter does not occur).
    """
    if name.endswith("_left"):
        return "left"
    if name.endswith("_right"):
        return "right"
    left, right = f"{name}_left" in names, f"{name}_right" in names
    if left == right:
        return ""
    return "left" if right else "right"


def recording_of(name: str) -> str:
    """Recording of a subject's video: the group that cross-validation must not split.

    Both subjects of a video share it, and so do the parts ``id-fps-WxH-1``, ``-2`` and ``videoN_1``, ``_2``. The 318 names of training and
    validation give 299 recordings (``docs/data.md``, leakage).
    """
    stem = raw_video(name)
    stem = re.sub(r"(\d+x\d+)-\d+$", r"\1", stem)
    return re.sub(r"^(video\d+)_\d+$", r"\1", stem)


def subjects_with_shared_recordings(train: Iterable[str], val: Iterable[str]) -> set[str]:
    """Validation subjects that share a recording with a training subject (leakage)."""
    train_recordings = {recording_of(name) for name in train}
    return {name for name in val if recording_of(name) in train_recordings}


def make_subjects(names: dict[Split, list[str]]) -> list[Subject]:
    """Subjects of all splits, in the given order."""
    all_names = {name for some in names.values() for name in some}
    return [Subject(name=name, video=raw_video(name), side=side_of(name, all_names), split=split) for split, some in names.items() for name in some]
