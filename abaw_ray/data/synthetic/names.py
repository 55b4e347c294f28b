"""Names, paths and identities of the videos; the naming styles of Aff-Wild2 are assigned in turn.

``N`` · ``id-rate-WxH`` · ``videoN`` · ``id-rate-WxH-part`` (two parts of one recording, the same identity) · ``videoN_k``, and one video
whose two subjects are annotated as ``_left`` and ``_right``.
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.data.synthetic.config import SyntheticConfig, generator

_STYLES: tuple[str, ...] = ("number", "sized", "video", "part", "part", "number", "sized", "take", "number")


@dataclass(frozen=True, kw_only=True)
class VideoName:
    """One annotated subject and its video."""

    annotation: str
    """Name of the annotation file, without suffix."""
    video: str
    """File name of the video, without suffix."""
    path: str
    """Path of the video below the root of the tree."""
    identity: str
    """Name of the subject's ``Identity``."""
    fps: float
    """Frames per second; the mean where the frame rate varies."""
    variable_fps: bool


def sample_names(config: SyntheticConfig) -> dict[str, list[VideoName]]:
    """Names by split (train, val, test). The first of train is the left person of the two-person video, the first of val the right one."""
    rng = generator(config.seed, "names")
    ids = iter(rng.permutation(np.arange(1, 1 + 2 * (config.train_subjects + config.val_subjects + config.test_subjects))).tolist())
    size = "x".join(map(str, config.frame_size))
    pair = _name(config, rng, f"{next(ids)}-{{rate}}-{size}", "pair", 1)
    by_split = {}
    for split, count in (("train", config.train_subjects - 1), ("val", config.val_subjects - 1), ("test", config.test_subjects)):
        side = {"train": "left", "val": "right"}.get(split)
        names = [_person_of_pair(pair, side)] if side else []
        for index in range(count):
            style = _STYLES[index % len(_STYLES)]
            is_second_part = style == "part" and index > 0 and _STYLES[(index - 1) % len(_STYLES)] == "part"
            if is_second_part:
                names.append(_second_part(names[-1], index))
                continue
            number = next(ids)
            stem = {"number": f"{number}", "video": f"video{number}", "take": f"video{number}_1"}.get(style, f"{number}-{{rate}}-{size}")
            names.append(_name(config, rng, f"{stem}-1" if style == "part" else stem, f"{split}-{number}", index))
        by_split[split] = names
    return by_split


def _name(config: SyntheticConfig, rng: np.random.Generator, stem: str, identity: str, index: int) -> VideoName:
    rate = float(rng.integers(round(config.fps_range[0]), round(config.fps_range[1]) + 1))
    video = stem.format(rate=f"{rate:.0f}")
    is_avi = index % 4 == 2
    return VideoName(
        annotation=video, video=video, path=_path(video, index, is_avi), identity=identity, fps=rate, variable_fps=index % 3 == 0 and not is_avi
    )


def _path(video: str, index: int, is_avi: bool) -> str:
    return f"batch2/{video}.avi" if is_avi else f"batch{1 + index % 2}/{video}.mp4"


def _person_of_pair(pair: VideoName, side: str) -> VideoName:
    return VideoName(**{**vars(pair), "annotation": f"{pair.video}_{side}", "identity": f"pair-{side}"})


def _second_part(first: VideoName, index: int) -> VideoName:
    video = first.video.removesuffix("-1") + "-2"
    return VideoName(
        annotation=video, video=video, path=_path(video, index, False), identity=first.identity, fps=first.fps, variable_fps=first.variable_fps
    )
