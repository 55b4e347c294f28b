"""A frame and the rows of its people -> the frame with boxes, names, expressions, and the probabilities of the main person in a panel.

Sizes follow the size of the frame. Where the panel would cover too much of it, a strip at the bottom shows the probabilities as one bar.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import ImageColor

from abaw_ray.core.expressions import COLORS, EXPRESSIONS
from abaw_ray.report.overlay.people import Person
from abaw_ray.report.tracks.canvas import INK, MUTED, PAPER, Box, Canvas, Color, font, format_time
from abaw_ray.report.tracks.frame_images import LabelStyle, draw_label

CLASS_COLORS: tuple[Color, ...] = tuple(ImageColor.getrgb(COLORS[name])[:3] for name in EXPRESSIONS)
_TRACK: Color = (62, 72, 84)
"""Background of a bar."""
_FONT_SHARE, _FONT_RANGE = 1 / 34, (11, 28)
"""Font size as a share of the frame's shorter side, and its limits in pixels: smaller text is not legible."""
_MAX_PANEL_SHARE = (0.6, 0.45)
"""Largest share of the frame's width and height that the panel takes."""
_VISIBLE = 0.3
"""Share of the picture that remains visible behind the panel."""
_MARGIN = 8
"""Pixels between the panel and the border of the frame."""


class Painter:
    """Draws on the frames of one video, all of one size."""

    def __init__(self, people: list[Person], size: tuple[int, int], scale: tuple[float, float]) -> None:
        """Lay out the panel.

        Args:
            people: All people of the video, the main one first.
            size: Width and height of the frames in pixels.
            scale: Pixels of these frames per pixel of the video's frames, horizontally and vertically.
        """
        self.people, self.size = people, size
        self.font = int(np.clip(round(min(size) * _FONT_SHARE), *_FONT_RANGE))
        self.line = max(round(min(size) / 180), 3)
        self.row = round(1.3 * self.font)
        self.names = max(font(self.font, bold=True).getlength(name) for name in EXPRESSIONS) + 8
        width = round(self.names + 10.5 * self.font + 14)
        height = round((len(EXPRESSIONS) + 2) * self.row + 10)
        fits = width <= _MAX_PANEL_SHARE[0] * size[0] and height <= _MAX_PANEL_SHARE[1] * size[1]
        self.panel: Box | None = self._corner(width, height, scale) if fits else None

    def draw(
        self, rgb: UInt8[np.ndarray, "height width 3"], frame: int, time: float, scale: tuple[float, float]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return the frame with everything drawn on it.

        Args:
            rgb: The frame; not changed.
            frame: Its number.
            time: Its presentation time in seconds.
            scale: Pixels of this image per pixel of the video's frame, horizontally and vertically.
        """
        area = self._footer() if self.panel is None else self.panel
        canvas = Canvas(0, 0, rgb)
        canvas.darken(area, _VISIBLE)
        rows = [(person, person.at(frame)) for person in self.people]
        visible = [(person, row, _scaled(person.box[row], scale)) for person, row in rows if row is not None and person.seen[row]]
        for person, row, box in reversed(visible):  # the main person's box is drawn last, on top
            self._draw_box(canvas, person, row, box)
        if self.panel is None:
            self._draw_strip(canvas, *rows[0], frame, time)
        else:
            self._draw_panel(canvas, self.panel, *rows[0], frame, time)
        for person, row, box in visible:
            self._draw_name(canvas, person, row, box)
        return np.asarray(canvas.image)

    def _corner(self, width: int, height: int, scale: tuple[float, float]) -> Box:
        """The corner of the frame in which the panel covers least of all faces, over the whole video, so that it never moves."""
        boxes = np.concatenate([person.box[person.seen] for person in self.people]) * np.array([*scale, *scale])
        lefts, tops = (_MARGIN, self.size[0] - width - _MARGIN), (self.size[1] - height - _MARGIN, _MARGIN)
        corners = [(left, top, left + width, top + height) for top in tops for left in lefts]
        return min(corners, key=lambda corner: _covered(boxes, corner))

    def _footer(self) -> Box:
        return (0, self.size[1] - self.row - 4, self.size[0], self.size[1])

    def _draw_box(self, canvas: Canvas, person: Person, row: int, box: Box) -> None:
        """Draw the box in the color of the expression, and below it all probabilities as one bar, except for the main person."""
        color = CLASS_COLORS[person.label[row]] if person.label[row] >= 0 else MUTED
        canvas.frame((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), INK, self.line + 2)
        canvas.frame(box, color, self.line)
        if person is not self.people[0] and person.label[row] >= 0:
            height = max(self.font // 2, 5)
            _draw_stacked(canvas, person.probability[row], (box[0], box[3] + 1, box[2], box[3] + 1 + height))

    def _draw_name(self, canvas: Canvas, person: Person, row: int, box: Box) -> None:
        fill = CLASS_COLORS[person.label[row]] if person.label[row] >= 0 else MUTED
        style = LabelStyle(fill=fill, ink=_ink_on(fill), size=self.font, bold=person is self.people[0], max_width=self.size[0])
        texts = (f"{person.name}  {_result(person, row)}", person.name)
        short = person is not self.people[0] and font(self.font).getlength(texts[0]) > self.size[0] / 2  # in a tiny video it would hide the faces
        for text in texts[short:]:
            if draw_label(canvas, text, box, style):
                return

    def _draw_panel(self, canvas: Canvas, panel: Box, person: Person, row: int | None, frame: int, time: float) -> None:
        left, top, right = panel[0] + 7, panel[1] + 5, panel[2] - 7
        canvas.text(left, top, f"{person.name}  {_state(person, row)}", self.font, PAPER, width=right - left, bold=True)
        bar, end, label = left + self.names, right - 3.2 * self.font, -1 if row is None else int(person.label[row])
        for number, name in enumerate(EXPRESSIONS):
            top += self.row
            probability = np.nan if row is None else person.probability[row, number]
            best = number == label
            canvas.text(left, top, name, self.font, PAPER, width=self.names, bold=best)
            canvas.fill((bar, top + 2, end, top + self.font + 1), _TRACK)
            text = "\N{EN DASH}" if np.isnan(probability) else f"{probability:.0%}"
            if not np.isnan(probability):
                canvas.fill((bar, top + 2, bar + (end - bar) * probability, top + self.font + 1), CLASS_COLORS[number])
            canvas.text(right, top, text, self.font, PAPER, width=3.2 * self.font, bold=best, align="r")
        canvas.text(left, top + self.row, _position(frame, time), self.font, PAPER, width=right - left)

    def _draw_strip(self, canvas: Canvas, person: Person, row: int | None, frame: int, time: float) -> None:
        x0, y0, x1, y1 = self._footer()
        used = canvas.text(x0 + 4, y0 + 2, _state(person, row), self.font, PAPER, width=x1 - 8, bold=True)
        start = x0 + 4 + max(used, 8 * self.font) + 6
        if row is not None and person.label[row] >= 0 and start < x1 - 20:
            _draw_stacked(canvas, person.probability[row], (start, y0 + 4, x1 - 4, y1 - 4))


def _draw_stacked(canvas: Canvas, probability: np.ndarray, box: Box) -> None:
    """Draw probabilities side by side in one bar; their sum is its width."""
    ends = box[0] + (box[2] - box[0]) * np.cumsum(np.nan_to_num(probability))
    canvas.fill(box, _TRACK)
    for color, start, end in zip(CLASS_COLORS, [box[0], *ends[:-1]], ends, strict=True):
        canvas.fill((start, box[1], end, box[3]), color)


def _state(person: Person, row: int | None) -> str:
    """The result of a row, and whether it comes from the voice alone."""
    if row is None or person.label[row] < 0:
        return "no prediction"
    return _result(person, row) + ("" if person.seen[row] else "  (voice)" if person.heard[row] else "  (no face)")


def _result(person: Person, row: int) -> str:
    return "no prediction" if person.label[row] < 0 else f"{EXPRESSIONS[person.label[row]]} {person.confidence[row]:.0%}"


def _position(frame: int, time: float) -> str:
    return f"{format_time(time)}   #{frame:,}"


def _scaled(box: np.ndarray, scale: tuple[float, float]) -> Box:
    return float(box[0] * scale[0]), float(box[1] * scale[1]), float(box[2] * scale[0]), float(box[3] * scale[1])


def _covered(boxes: np.ndarray, area: Box) -> float:
    """Area of the boxes within ``area``, summed."""
    width = np.minimum(boxes[:, 2], area[2]) - np.maximum(boxes[:, 0], area[0])
    height = np.minimum(boxes[:, 3], area[3]) - np.maximum(boxes[:, 1], area[1])
    return float((np.clip(width, 0, None) * np.clip(height, 0, None)).sum())


def _ink_on(fill: Color) -> Color:
    """Dark text on light colors, white on dark ones."""
    return INK if 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] > 140 else PAPER
