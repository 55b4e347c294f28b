"""What the videos are called, where their files lie and who is in them: the styles of Aff-Wild2's names, dealt in turn.

``N`` · ``id-rate-WxH`` · ``videoN`` · ``id-rate-WxH-part`` (two parts of one recording, the same person) · ``videoN_k``, and one video
whose two people are annotated as ``_left`` and ``_right``.
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.data.synthetic.config import SyntheticConfig, generator

_STYLES: tuple[str, ...] = ("number", "sized", "video", "part", "part", "number", "sized", "take", "number")


@dataclass(frozen=True, kw_only=True)
class Name:
    """One annotated subject."""

    annotation: str
    video: str
    path: str
    """Of the video below the root of the tree."""
    person: str
    rate: float
    """Frames a second, the mean where the rate varies."""
    variable: bool


def draw_names(config: SyntheticConfig) -> dict[str, list[Name]]:
    """The names of each split (train, val, test). The first of train is the pair's left half, the first of val its right half."""
    rng = generator(config.seed, "names")
    ids = iter(rng.permutation(np.arange(1, 1 + 2 * (config.train + config.validation + config.test))).tolist())
    size = "x".join(map(str, config.picture))
    pair = _name(config, rng, f"{next(ids)}-{{rate}}-{size}", "pair", 1)
    drawn = {}
    for split, count in (("train", config.train - 1), ("val", config.validation - 1), ("test", config.test)):
        side = {"train": "left", "val": "right"}.get(split)
        names = [_half(pair, side)] if side else []
        for at in range(count):
            style = _STYLES[at % len(_STYLES)]
            second = style == "part" and at > 0 and _STYLES[(at - 1) % len(_STYLES)] == "part"
            if second:
                names.append(_second_part(names[-1], at))
                continue
            number = next(ids)
            stem = {"number": f"{number}", "video": f"video{number}", "take": f"video{number}_1"}.get(style, f"{number}-{{rate}}-{size}")
            names.append(_name(config, rng, f"{stem}-1" if style == "part" else stem, f"{split}-{number}", at))
        drawn[split] = names
    return drawn


def _name(config: SyntheticConfig, rng: np.random.Generator, stem: str, person: str, at: int) -> Name:
    rate = float(rng.integers(round(config.rate[0]), round(config.rate[1]) + 1))
    video = stem.format(rate=f"{rate:.0f}")
    avi = at % 4 == 2
    return Name(annotation=video, video=video, path=_path(video, at, avi), person=person, rate=rate, variable=at % 3 == 0 and not avi)


def _path(video: str, at: int, avi: bool) -> str:
    return f"batch2/{video}.avi" if avi else f"batch{1 + at % 2}/{video}.mp4"


def _half(pair: Name, side: str) -> Name:
    return Name(**{**vars(pair), "annotation": f"{pair.video}_{side}", "person": f"pair-{side}"})


def _second_part(first: Name, at: int) -> Name:
    video = first.video.removesuffix("-1") + "-2"
    return Name(annotation=video, video=video, path=_path(video, at, False), person=first.person, rate=first.rate, variable=first.variable)
