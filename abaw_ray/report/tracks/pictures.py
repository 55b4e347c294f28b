"""A picture of a video and the rows of its people -> the picture with their boxes and names, one of them brought out.

Used for whole pictures of a contact sheet and for every picture of an overlay.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.report.tracks.canvas import ACCENT, INK, PAPER, Box, Canvas, Colour, font
from abaw_ray.report.tracks.rows import Track

_QUIET: Colour = (150, 196, 235)
"""Of those who are not the one."""
_LONGEST = 150
"""Pixels of a name: more would hide the picture."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a video, at any size."""

    frame: int
    rgb: UInt8[np.ndarray, "height width 3"]
    scale: tuple[float, float]
    """Its pixels for one pixel of the video, across and down."""


def draw_people(picture: Picture, tracks: Iterable[Track], name: str) -> tuple[UInt8[np.ndarray, "height width 3"], list[tuple[str, Box]]]:
    """Draw everybody who is seen in this frame; returns a new picture, and what is written in it where."""
    canvas = Canvas(0, 0, picture.rgb)
    rows = [(track, track.at(picture.frame)) for track in sorted(tracks, key=lambda track: track.name == name)]
    here = [(track.name, _scaled(track.box[row], picture)) for track, row in rows if row is not None and track.seen[row]]
    for who, box in here:
        own = who == name
        canvas.frame((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), INK, 4 if own else 3)
        canvas.frame(box, ACCENT if own else _QUIET, 3 if own else 1)
    for who, box in reversed(here):
        _name(canvas, who, box, own=who == name)
    return np.asarray(canvas.image), canvas.texts


def _scaled(box: Float[np.ndarray, "4"], picture: Picture) -> Box:
    across, down = picture.scale
    return float(box[0] * across), float(box[1] * down), float(box[2] * across), float(box[3] * down)


def _name(canvas: Canvas, name: str, box: Box, *, own: bool) -> None:
    """A name above or below its box, inside the picture; left out where all its places are taken."""
    width, height = canvas.image.size
    size, high = 12, 17
    long = min(font(size, own).getlength(name) + 8, _LONGEST, width)
    left = min(max(box[0], 0), width - long)
    for top in (box[1] - high - 1, box[3] + 1, box[1] + 3):
        place = (left, top, left + long, top + high)
        if top < 0 or place[3] > height or any(_meet(place, taken) for _, taken in canvas.texts):
            continue
        canvas.fill(place, ACCENT if own else _QUIET)
        canvas.text(left + 4, top + 1, name, size, PAPER if own else INK, width=long - 7, bold=own)
        return


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] + 5 and b[0] < a[2] + 5 and a[1] < b[3] + 2 and b[1] < a[3] + 2
