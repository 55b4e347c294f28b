"""Identities: appearance, resting activations and voice, sampled from the seed and a name; the same name gives the same identity everywhere."""

from dataclasses import dataclass

import numpy as np

from abaw_ray.data.synthetic.config import generator
from abaw_ray.data.synthetic.face.action_units import sample_habits

_SKIN = ((244, 212, 186), (232, 190, 160), (222, 172, 138), (204, 150, 114), (176, 122, 88), (142, 94, 66), (112, 74, 54))
_HAIR = ((34, 26, 22), (52, 36, 26), (84, 56, 34), (122, 82, 46), (168, 124, 70), (206, 170, 112), (150, 146, 142), (132, 58, 30))
_IRIS = ((72, 48, 30), (96, 66, 38), (88, 104, 70), (84, 116, 150), (110, 110, 104))

Color = tuple[float, float, float]
"""Red, green and blue in 0..255."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Parameters of one synthetic face and voice. Lengths are in half face widths; the eye line is at -0.16, the chin at ``height``."""

    skin: Color
    hair: Color
    iris: Color
    lips: Color
    shirt: Color
    height: float
    jaw: float
    """Half width of the jaw at the mouth's height."""
    eye_x: float
    eye_size: float
    eye_tilt: float
    """Height of the outer corner of the eye above its center."""
    brow_y: float
    brow_width: float
    nose_y: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    lip: float
    """Thickness of the lips."""
    fringe: float
    """How far the hair comes down the forehead: 0 bald, 1 to just above the brows."""
    parting: float
    """Horizontal position of the parting, -1 to 1."""
    long_hair: float
    """Length of the hair below the ears, 0 for short hair."""
    beard: float
    """Opacity of the beard, 0 for none."""
    mustache: float
    """Opacity of the mustache, 0 for none."""
    glasses: float
    """Radius of the glasses, 0 for none."""
    relief: float
    """Depth of the face's shading."""
    au_gain: np.ndarray
    """Gain of each action unit."""
    au_rest: np.ndarray
    """Resting activation of each action unit."""
    pitch: float
    """Mean fundamental frequency of the voice in Hz."""
    tract: float
    """Factor of all formant frequencies; it is higher for a shorter vocal tract."""
    loudness: float
    """Root mean square of the voice's samples."""
    tilt: float
    """Added to the spectral tilt of each speaking style."""
    breathiness: float
    """Minimum noise fraction of the voice source."""
    tempo: float
    """Factor of the speaking rate."""


def make_identity(seed: int, name: str) -> Identity:
    """The identity with this name."""
    rng = generator(seed, "person", name)
    skin = np.array(_SKIN[rng.integers(len(_SKIN))]) * rng.uniform(0.92, 1.06) + rng.normal(0, 4, 3)
    hair = _color(np.array(_HAIR[rng.integers(len(_HAIR))]) * rng.uniform(0.8, 1.2))
    has_beard, (au_gain, au_rest) = rng.random() < 0.45, sample_habits(rng)
    return Identity(
        skin=_color(skin),
        hair=hair,
        iris=_color(np.array(_IRIS[rng.integers(len(_IRIS))]) * rng.uniform(0.8, 1.2)),
        lips=_color(skin * rng.uniform(0.6, 0.86) * np.array([1.08, 0.74, 0.76])),
        shirt=_color(rng.uniform(30, 220, 3)),
        height=rng.uniform(1.16, 1.42),
        jaw=rng.uniform(0.66, 0.84),
        eye_x=rng.uniform(0.37, 0.48),
        eye_size=rng.uniform(0.8, 1.25),
        eye_tilt=rng.normal(0, 0.02),
        brow_y=rng.uniform(0.23, 0.37),
        brow_width=rng.uniform(0.5, 1.7),
        nose_y=rng.uniform(0.2, 0.32),
        nose_width=rng.uniform(0.85, 1.2),
        mouth_y=rng.uniform(0.57, 0.74),
        mouth_width=rng.uniform(0.3, 0.48),
        lip=rng.uniform(0.5, 1.7),
        fringe=0.0 if rng.random() < 0.1 else rng.uniform(0.25, 0.85),
        parting=rng.uniform(-0.6, 0.6),
        long_hair=rng.uniform(0.5, 1.0) if rng.random() < 0.45 and not has_beard else 0.0,
        beard=rng.uniform(0.3, 0.95) if has_beard else 0.0,
        mustache=rng.uniform(0.4, 0.95) if rng.random() < (0.8 if has_beard else 0.15) else 0.0,
        glasses=rng.uniform(0.25, 0.36) if rng.random() < 0.35 else 0.0,
        relief=rng.uniform(0.8, 1.15),
        au_gain=au_gain,
        au_rest=au_rest,
        pitch=float(np.exp(rng.uniform(np.log(95), np.log(255)))),
        tract=rng.uniform(0.88, 1.14),
        loudness=float(10 ** (rng.uniform(-30, -16) / 20)),
        tilt=rng.normal(0, 0.15),
        breathiness=rng.uniform(0.003, 0.02),
        tempo=rng.uniform(0.88, 1.14),
    )


def _color(values: np.ndarray) -> Color:
    red, green, blue = np.clip(values, 0, 255)
    return float(red), float(green), float(blue)
