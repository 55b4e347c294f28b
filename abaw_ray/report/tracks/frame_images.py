"""A frame and the rows of its people -> the frame with their boxes and names, one of them highlighted.

Used for the frames of a contact sheet and for every frame of an overlay video.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.report.tracks.canvas import ACCENT, INK, PAPER, Box, Canvas, Color, font
from abaw_ray.report.tracks.track import Track

_MUTED: Color = (150, 196, 235)
"""Color of the tracks that are not highlighted."""
_MAX_LABEL = 150
"""Maximum width of a name in pixels, so that it does not hide the frame."""


@dataclass(frozen=True, eq=False)
class FrameImage:
    """One frame of a video, at any size."""

    frame: int
    rgb: UInt8[np.ndarray, "height width 3"]
    scale: tuple[float, float]
    """Pixels of the image per pixel of the video, horizontally and vertically."""


def draw_people(image: FrameImage, tracks: Iterable[Track], name: str) -> tuple[UInt8[np.ndarray, "height width 3"], list[tuple[str, Box]]]:
    """Draw all people seen in this frame; returns a new image, and its texts with their boxes."""
    canvas = Canvas(0, 0, image.rgb)
    rows = [(track, track.at(image.frame)) for track in sorted(tracks, key=lambda track: track.name == name)]
    people = [(track.name, _scaled(track.box[row], image)) for track, row in rows if row is not None and track.seen[row]]
    for label, box in people:
        highlighted = label == name
        canvas.frame((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), INK, 4 if highlighted else 3)
        canvas.frame(box, ACCENT if highlighted else _MUTED, 3 if highlighted else 1)
    for label, box in reversed(people):
        highlighted = label == name
        draw_label(canvas, label, box, LabelStyle(fill=ACCENT if highlighted else _MUTED, ink=PAPER if highlighted else INK, bold=highlighted))
    return np.asarray(canvas.image), canvas.texts


def _scaled(box: Float[np.ndarray, "4"], image: FrameImage) -> Box:
    across, down = image.scale
    return float(box[0] * across), float(box[1] * down), float(box[2] * across), float(box[3] * down)


@dataclass(frozen=True, kw_only=True)
class LabelStyle:
    """Look of a label beside a box."""

    fill: Color
    ink: Color
    size: int = 12
    """Pixels of the font."""
    bold: bool = False
    max_width: float = _MAX_LABEL
    """Pixels."""


def draw_label(canvas: Canvas, text: str, box: Box, style: LabelStyle) -> bool:
    """Draw a text above, below or inside its box; returns False, without drawing, if all these positions overlap other texts or the border."""
    width, height = canvas.image.size
    label_height = round(1.4 * style.size)
    label_width = min(font(style.size, style.bold).getlength(text) + 8, style.max_width, width)
    left = min(max(box[0], 0), width - label_width)
    for top in (box[1] - label_height - 1, box[3] + 1, box[1] + 3):
        place = (left, top, left + label_width, top + label_height)
        if top < 0 or place[3] > height or any(_overlap(place, taken) for _, taken in canvas.texts):
            continue
        canvas.fill(place, style.fill)
        canvas.text(left + 4, top + 1, text, style.size, style.ink, width=label_width - 7, bold=style.bold)
        return True
    return False


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] + 5 and b[0] < a[2] + 5 and a[1] < b[3] + 2 and b[1] < a[3] + 2
