"""PadAug: a training view as if its picture ended near the face, black where the crop then leaves the picture (paper, Stage I).

The end of the picture is drawn relative to the face, as far away as in real videos, and the crop's scale decides how much black follows from it: a
tight crop of the same face has less, or none. Strips of random widths would cover the face itself, which the border of a picture does only where
the face leaves the picture.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.encoder.augmentation.config import PadAugConfig

_SINGLE = (("left",), ("right",), ("top",), ("bottom",), ("left", "top"), ("right", "top"), ("left", "bottom"), ("right", "bottom"))
"""The four sides and the four corners; a corner is two adjacent sides."""
_OPPOSITE = (("left", "right"), ("top", "bottom"))


class Border(NamedTuple):
    """Distances of the ends of the picture from the center of the face, over the longer side of its box; infinite where the picture goes on."""

    left: float = np.inf
    right: float = np.inf
    top: float = np.inf
    bottom: float = np.inf

    def covered(self) -> float:
        """Fraction of a square face box that lies outside of the picture."""
        width, height = (max(min(first, 0.5) + min(second, 0.5), 0.0) for first, second in (self[:2], self[2:]))
        return 1 - width * height


def sample_border(rng: np.random.Generator, config: PadAugConfig, largest_scale: float) -> Border:
    """A random picture around a face: endless with probability ``1 - probability``.

    Args:
        rng: Five values are drawn in any case.
        config: Probabilities, and the fraction of the largest crop that lies inside the picture.
        largest_scale: Side of the largest crop over the longer side of the face box.
    """
    chance, kind, place, quantile, share = rng.random(5)
    if chance >= config.probability:
        return Border()
    inside = float(np.interp(quantile, np.linspace(0, 1, len(config.inside)), config.inside))
    places = _OPPOSITE if kind < config.opposite else _SINGLE
    sides = places[int(place * len(places))]
    if len(sides) == 1:
        outside = (1 - inside,)
    elif places is _OPPOSITE:
        outside = (share * (1 - inside), (1 - share) * (1 - inside))
    else:  # the areas of both strips together
        outside = (1 - inside**share, 1 - inside ** (1 - share))
    return Border(**{side: largest_scale * (0.5 - part) for side, part in zip(sides, outside, strict=True)})


def apply_border(
    view: UInt8[np.ndarray, "size size 3"], border: Border, scale: float, face: Float[np.ndarray, "2"]
) -> UInt8[np.ndarray, "size size 3"]:
    """Blacken what lies outside of the picture, in place; returns the view.

    Args:
        view: The crop.
        border: The ends of the picture.
        scale: Side of the crop over the longer side of the face box.
        face: Center of the face in the view, x and y in pixels from the view's center.
    """
    size = len(view)
    x, y = size / 2 + face
    left, right = (round(min(max(value, 0), size)) for value in (x - border.left * size / scale, x + border.right * size / scale))
    top, bottom = (round(min(max(value, 0), size)) for value in (y - border.top * size / scale, y + border.bottom * size / scale))
    view[:, :left] = view[:, right:] = view[:top] = view[bottom:] = 0
    return view
