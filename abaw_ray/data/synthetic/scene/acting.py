"""How a face and a head move through a video: muscles that follow the script, blinks, talk, a head that sways.

From stretches and times to one vector of pulls and one pose a frame; nothing is drawn here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.face.face import Pose
from abaw_ray.data.synthetic.face.muscles import INDEX, MUSCLES, pulls
from abaw_ray.data.synthetic.face.people import Colour, Person
from abaw_ray.data.synthetic.script import Stretch

_FADE = 0.25
"""Seconds in which one expression turns into the next."""


@dataclass(frozen=True)
class Part:
    """What one person does in one video, frame by frame."""

    poses: list[Pose]
    pulls: Float[np.ndarray, "frames muscles"]
    hide: list[str]
    shift: list[tuple[float, float]]
    """Of a cover, in half face widths."""
    colour: Colour
    """Of a cover."""
    brightness: Float[np.ndarray, " frames"]
    blur: Float[np.ndarray, " frames"]


def sway(rng: np.random.Generator, times: np.ndarray, size: float, period: tuple[float, float] = (1.2, 5.0)) -> np.ndarray:
    """A smooth random curve around 0: three sines, together of about that size."""
    waves = [rng.normal(0, 0.6) * np.sin(2 * np.pi * times / rng.uniform(*period) + rng.uniform(0, 2 * np.pi)) for _ in range(3)]
    return size * np.sum(waves, axis=0)


def act(
    rng: np.random.Generator,
    config: SyntheticConfig,
    person: Person,
    stretches: tuple[Stretch, ...],
    times: np.ndarray,
    talk: np.ndarray,
    place: int,
    people: int,
) -> Part:
    """One person's part.

    Args:
        rng: Of this person in this video.
        config: Picture size and strength of the expressions.
        person: Who acts.
        stretches: The script.
        times: Of the frames, seconds.
        talk: Loudness of the voice at each frame; moves the mouth.
        place: Number of the person from the left.
        people: How many share the picture.
    """
    stops = np.array([stretch.stop for stretch in stretches])
    which = np.minimum(np.searchsorted(stops, times, side="right"), len(stops) - 1)
    hide = [_hide(stretches[at], time) for at, time in zip(which, times, strict=True)]
    pull = _expressions(rng, config, person, stretches, times)
    _talk(rng, person, pull, talk)
    for time in np.cumsum(rng.uniform(1.5, 5.0, 1 + int(times[-1]))):
        pull[:, INDEX["shut"]] = np.maximum(pull[:, INDEX["shut"]], np.clip(1.6 - np.abs(times - time) / 0.09, 0, 1))
    moved = sway(rng, times, 0.25)
    return Part(
        poses=_poses(rng, config, times, np.array(hide) == "edge", place, people),
        pulls=pull,
        hide=hide,
        shift=list(zip((moved + rng.choice([-0.2, 0.2])).tolist(), sway(rng, times, 0.2).tolist(), strict=True)),
        colour=tuple(rng.uniform(30, 210, 3).tolist()),
        brightness=1 + np.clip(sway(rng, times, 0.09), -0.25, 0.2),
        blur=np.clip(sway(rng, times, 0.5, (0.8, 3.0)), 0, 1.3),
    )


def _hide(stretch: Stretch, time: float) -> str:
    """Someone who is away leaves for the middle of the stretch."""
    if stretch.hide != "away":
        return stretch.hide
    done = (time - stretch.start) / (stretch.stop - stretch.start)
    return "away" if 0.15 < done < 0.85 else "faint"


def _expressions(rng: np.random.Generator, config: SyntheticConfig, person: Person, stretches: tuple[Stretch, ...], times: np.ndarray) -> np.ndarray:
    total = np.zeros((len(times), len(MUSCLES)))
    for stretch in stretches:
        level = rng.uniform(0.05, 0.2) if stretch.hide in ("faint", "away") else rng.uniform(0.6, 1.0)
        swell = level * (1 + sway(rng, times, 0.14, (0.6, 2.5)))
        rising = np.clip((times - stretch.start) / _FADE + 0.5, 0, 1) if stretch.start > 0 else 1.0
        falling = np.clip((stretch.stop - times) / _FADE + 0.5, 0, 1) if stretch is not stretches[-1] else 1.0
        total += (config.strength * swell * rising * falling)[:, None] * pulls(rng, stretch.expression)
    restless = np.stack([sway(rng, times, 0.06, (0.3, 2.0)) for _ in MUSCLES], axis=1)
    restless[:, [INDEX[name] for name in ("side", "brow_side", "wink", "puff", "tongue", "shut")]] *= 0.3
    return person.rest + person.answer * total + restless


def _talk(rng: np.random.Generator, person: Person, pull: np.ndarray, talk: np.ndarray) -> None:
    """Open the mouth with the voice, and change its width as vowels do; in place."""
    spoken = np.clip(talk, 0, 1.5)
    pull[:, INDEX["jaw"]] += rng.uniform(0.2, 0.45) * spoken
    pull[:, INDEX["lip_low"]] += 0.2 * spoken
    pull[:, INDEX["wide"]] += 0.3 * spoken * rng.normal(0, 1, len(spoken))
    pull[:, INDEX["pout"]] += 0.25 * spoken * rng.random(len(spoken))


def _poses(rng: np.random.Generator, config: SyntheticConfig, times: np.ndarray, edge: np.ndarray, place: int, people: int) -> list[Pose]:
    width, height = config.picture
    base = height * (rng.uniform(0.13, 0.19) if people == 1 else rng.uniform(0.11, 0.14))
    size = base * np.clip(1 + sway(rng, times, 0.1, (3.0, 9.0)), 0.75, 1.3)
    middle = width * ((place + 0.5) / people if people > 1 else rng.uniform(0.38, 0.62))
    x = middle + sway(rng, times, 0.03 * width, (2.0, 7.0))
    y = height * rng.uniform(0.42, 0.52) + sway(rng, times, 0.03 * height, (2.0, 7.0))
    side = rng.choice([-1, 1])
    out = np.convolve(np.pad(edge.astype(float), 2, mode="edge"), np.ones(5) / 5, mode="valid")
    x = x * (1 - out) + out * np.where(side > 0, width - 0.1 * size, 0.1 * size)
    spreads = (config.turning * spread for spread in (0.1, 0.14, 0.07))
    roll, yaw, pitch = (sway(rng, times, spread) + rng.normal(0, spread / 2) for spread in spreads)
    look = np.stack([sway(rng, times, 0.5), sway(rng, times, 0.4)], axis=1)
    return [
        Pose(x=x[i], y=y[i], size=size[i], roll=roll[i], yaw=np.clip(yaw[i], -0.5, 0.5), pitch=pitch[i], gaze=(look[i, 0], look[i, 1]))
        for i in range(len(times))
    ]
