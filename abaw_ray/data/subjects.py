"""What a name of Aff-Wild2 says: its raw video, whose side of the picture, and which recording it was cut from.

Names only (``DATA.md`` section 1); no file is looked at.
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
    """One annotated (or, in the test release, wanted) person of a video."""

    name: str
    """The annotation's name, with its suffix; the ``track`` of the person's ``FACE`` rows."""
    video: str
    """Stem of the raw video's file."""
    side: Side
    """Which of two people; empty where the video has one named subject."""
    split: Split


def raw_video(name: str) -> str:
    """The raw video's stem: the name without ``_left`` or ``_right``."""
    return name.removesuffix("_left") if name.endswith("_left") else name.removesuffix("_right")


def side_of(name: str, names: Iterable[str]) -> Side:
    """The side that a subject has by its suffix, or by its sibling's.

    Args:
        name: The subject.
        names: All names of all splits; a subject without suffix is the left one where ``<name>_right`` exists, the right one where
            ``<name>_left`` does, and the only one where neither or (never seen) both do.
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
    """The recording that a subject's video was cut from: what may not be on both sides of a fold.

    Both people of a video share it, and so do the parts ``id-fps-WxH-1``, ``-2`` and ``videoN_1``, ``_2``. The 318 names of training and
    validation give 299 sources (``DATA.md``, leakage).
    """
    stem = raw_video(name)
    stem = re.sub(r"(\d+x\d+)-\d+$", r"\1", stem)
    return re.sub(r"^(video\d+)_\d+$", r"\1", stem)


def leaked(train: Iterable[str], val: Iterable[str]) -> set[str]:
    """The validation subjects that share a source with a training subject."""
    seen = {recording_of(name) for name in train}
    return {name for name in val if recording_of(name) in seen}


def make_subjects(names: dict[Split, list[str]]) -> list[Subject]:
    """Subjects of all splits, in the order of the splits and of the names in them."""
    everyone = {name for some in names.values() for name in some}
    return [Subject(name=name, video=raw_video(name), side=side_of(name, everyone), split=split) for split, some in names.items() for name in some]
