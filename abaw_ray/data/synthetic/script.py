"""What happens in every video, before anything is drawn: who is in it, which expression when, and what hides it.

From the settings to one ``Video`` a file. The expressions are dealt over all videos of a split as from a pack of cards, so that each
is in every split whatever the number of videos.
"""

from dataclasses import dataclass, replace

import numpy as np

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.occluders import COVERS
from abaw_ray.data.synthetic.names import Name, draw_names

SHARES: tuple[float, ...] = (1.7, 0.9, 0.8, 0.8, 1.3, 1.1, 0.9, 1.4)
"""Relative frequency of the expressions, in the order of ``EXPRESSIONS``: moderately unequal, as far as few videos allow."""
CUES: tuple[str, ...] = ("both", "voice", "face", "both", "voice", "both", "face")
"""What tells the expression: dealt to each expression's stretches in turn."""
_HIDES: tuple[str, ...] = ("faint", "faint", *COVERS, "edge", "away")
_ROWS: tuple[int, ...] = (0, 1, 0, 1, -1)
"""Annotation rows more than frames, in turn."""
_SOUNDS: tuple[str, ...] = ("whole", "none", "late", "whole", "whole", "short")
"""Of the first training videos; all others are whole. An AVI (the fourth) cannot begin late."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A time in which one person keeps one expression."""

    start: float
    stop: float
    """Seconds."""
    expression: str
    hide: str
    """Why the face says little: faint, a cover, edge (half out of the picture), away (not there at all); empty where it is clear."""
    sound: str
    """clear, noisy, or silent."""


@dataclass(frozen=True, kw_only=True)
class Actor:
    """One annotated person of a video."""

    name: str
    """Of the annotation file: the video's, with a suffix where two people are annotated."""
    person: str
    split: str
    """train, val or test."""
    rows: int
    """Annotation rows more than frames."""
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, kw_only=True)
class Video:
    """One file."""

    name: str
    path: str
    """Below the root of the tree."""
    seconds: float
    rate: float
    variable: bool
    sound: str
    """whole, none (no audio stream), late (begins after the first frame), short (ends early)."""
    actors: tuple[Actor, ...]

    @property
    def frames(self) -> int:
        """How many there are."""
        return round(self.seconds * self.rate)

    def times(self, seed: int) -> np.ndarray:
        """Presentation time of every frame in seconds."""
        count = self.frames
        if not self.variable:
            return np.arange(count) / self.rate
        rng = generator(seed, "times", self.name)
        gaps = rng.uniform(0.5, 1.5, count) * np.where(rng.random(count) < 0.03, 3, 1)
        return np.concatenate([[0.0], np.cumsum(gaps)[:-1]]) * self.seconds / gaps.sum()


def write_script(config: SyntheticConfig) -> list[Video]:
    """All videos of the data set; of the two-person video the left half is in Train_Set and the right one in Validation_Set."""
    videos: list[Video] = []
    for split, names in draw_names(config).items():
        dealt = _deal(config, split, len(names))
        videos += [_video(config, split, at, name, parts) for at, (name, parts) in enumerate(zip(names, dealt, strict=True))]
    return _join_pair(videos)


def _deal(config: SyntheticConfig, split: str, count: int) -> list[list[tuple[str, str]]]:
    """Expressions and cues of each video's stretches; no expression follows itself."""
    rng = generator(config.seed, "deal", split)
    places = count * config.stretches
    numbers = np.maximum(np.floor(places * np.array(SHARES) / sum(SHARES)), 1).astype(int)
    while numbers.sum() > places:
        numbers[numbers.argmax()] -= 1
    while numbers.sum() < places:
        numbers[np.argmax(np.array(SHARES) / numbers)] += 1
    pack = rng.permutation(np.repeat(np.arange(len(EXPRESSIONS)), numbers))
    for at in range(1, places):
        if pack[at] == pack[at - 1] and at % config.stretches:
            other = next((k for k in rng.permutation(places) if pack[k] != pack[at] and not _clash(pack, k, pack[at])), at)
            pack[at], pack[other] = pack[other], pack[at]
    turn = 3 * np.arange(len(EXPRESSIONS))  # so that the first ones of each already differ
    cards = []
    for card in pack:
        cards.append((EXPRESSIONS[card], CUES[turn[card] % len(CUES)]))
        turn[card] += 1
    return [cards[at : at + config.stretches] for at in range(0, places, config.stretches)]


def _clash(pack: np.ndarray, at: int, card: int) -> bool:
    return card in pack[max(at - 1, 0) : at + 2]


def _video(config: SyntheticConfig, split: str, at: int, name: Name, dealt: list[tuple[str, str]]) -> Video:
    rng = generator(config.seed, "script", name.video)
    low, high = config.stretch
    seconds = float(np.clip(config.seconds * rng.uniform(0.8, 1.2), low * len(dealt), high * len(dealt)))
    spare = rng.uniform(0.5, 1.5, len(dealt))
    lengths = low + (seconds - low * len(dealt)) * spare / spare.sum()
    mean = seconds / len(dealt)
    lengths = mean + (lengths - mean) * min(1.0, (high - mean) / max(lengths.max() - mean, 1e-9))
    starts = np.concatenate([[0.0], np.cumsum(lengths)])
    stretches = [_stretch(rng, starts[i], starts[i + 1], *dealt[i]) for i in range(len(dealt))]
    sound = _SOUNDS[at] if split == "train" and at < len(_SOUNDS) else "whole"
    if sound != "whole":  # a voice that may be missing must not be all there is to know
        stretches = [replace(stretch, hide="") for stretch in stretches]
    actor = Actor(name=name.annotation, person=name.person, split=split, rows=_ROWS[at % len(_ROWS)], stretches=tuple(stretches))
    rows = replace(actor, rows=0) if split == "test" else actor
    return Video(name=name.video, path=name.path, seconds=seconds, rate=name.rate, variable=name.variable, sound=sound, actors=(rows,))


def _stretch(rng: np.random.Generator, start: float, stop: float, expression: str, cue: str) -> Stretch:
    hide = str(rng.choice(_HIDES)) if cue == "voice" else ""
    sound = str(rng.choice(["silent", "noisy"])) if cue == "face" else "clear"
    return Stretch(start=float(start), stop=float(stop), expression=expression, hide=hide, sound=sound)


def _join_pair(videos: list[Video]) -> list[Video]:
    """Put the two halves of the pair into one file: they speak in turn, and nothing hides them."""
    left, right = (next(video for video in videos if video.actors[0].name.endswith(side)) for side in ("_left", "_right"))
    actors = []
    for place, half in enumerate((left, right)):
        stretches = tuple(
            replace(own, start=time.start, stop=time.stop, hide="", sound="clear" if at % 2 == place else "silent")
            for at, (own, time) in enumerate(zip(half.actors[0].stretches, left.actors[0].stretches, strict=True))
        )
        actors.append(replace(half.actors[0], stretches=stretches))
    return [replace(left, actors=tuple(actors)) if video is left else video for video in videos if video is not right]
