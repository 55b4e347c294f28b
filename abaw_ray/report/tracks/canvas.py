"""A canvas for texts (truncated to their width), rectangles and hatching. It records the box of every text."""

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels."""

PAPER, INK, MUTED, FAINT, WARNING, ACCENT = (255, 255, 255), (24, 33, 44), (96, 108, 122), (226, 230, 235), (176, 42, 32), (214, 66, 28)
STATE_COLORS = {
    "not seen": (246, 218, 213),
    "detected": (22, 124, 92),
    "followed": (58, 120, 190),
    "interpolated": (235, 178, 62),
    "given": (128, 96, 172),
}
"""Color of each state of a frame. They also differ in lightness, and the contact sheet shows a letter for each source."""
HATCH = (196, 110, 98)
_STEP = 8
"""Pixels between two lines of hatching."""


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans from matplotlib, so that images are the same on every machine."""
    import matplotlib  # here, because an analysis without an overlay does not need it

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf", size)


@lru_cache(maxsize=4096)
def _measure(text: str, size: int, bold: bool) -> float:
    """Return the width of a text in pixels; the texts of a video's frames repeat."""
    return font(size, bold).getlength(text)


@lru_cache(maxsize=1024)
def _render(text: str, size: int, bold: bool) -> tuple[Image.Image, Box]:
    """Return a text as a mask, and the box of its letters in pixels relative to the left end and the top of the text."""
    box = font(size, bold).getbbox(text, anchor="la")
    mask = Image.new("L", (max(round(box[2]), 1), max(round(box[3]), 1)))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font(size, bold), anchor="la")
    return mask, box


def truncate_middle(text: str, width: float, size: int, bold: bool = False) -> str:
    """Return the text if it fits into ``width`` pixels, else the text without its middle, because names differ at both ends."""
    if _measure(text, size, bold) <= width:
        return text
    length = len(text)
    while length > 0:
        length -= 1
        shortened = f"{text[: (length + 1) // 2]}…{text[len(text) - length // 2 :]}"
        if font(size, bold).getlength(shortened) <= width:
            return shortened
    return ""


class Canvas:
    """An RGB image of fixed width, cropped to its used height at the end."""

    def __init__(self, width: int, height: int, image: UInt8[np.ndarray, "height width 3"] | None = None) -> None:
        self.image = Image.new("RGB", (width, height), PAPER) if image is None else Image.fromarray(image)
        self.draw = ImageDraw.Draw(self.image)
        self.texts: list[tuple[str, Box]] = []
        """Every text with its box."""

    def text(self, x: float, y: float, text: str, size: int, color: Color = INK, *, width: float, bold: bool = False, align: str = "l") -> float:
        """Draw one line of text whose top is ``y``, truncated to ``width``; returns its width in pixels.

        Args:
            x: Left end (``align`` l), middle (m) or right end (r) of the text.
            y: Top of the text.
            text: Without line breaks.
            size: Font size in pixels.
            color: Color of the text.
            width: Maximum width in pixels.
            bold: Bold font.
            align: Meaning of ``x``.
        """
        text = truncate_middle(text, width, size, bold)
        if not text:
            return 0.0
        length = _measure(text, size, bold)
        left, top = round(x - {"l": 0.0, "m": length / 2, "r": length}[align]), round(y)
        mask, box = _render(text, size, bold)
        self.image.paste(color, (left, top), mask)
        self.texts.append((text, (box[0] + left, box[1] + top, box[2] + left, box[3] + top)))
        return length

    def paragraph(self, x: float, y: float, text: str, size: int, color: Color = INK, *, width: float) -> float:
        """Draw a text wrapped at plain spaces; returns the ``y`` below it."""
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and font(size).getlength(longer) > width:
                lines.append(word)
            else:
                lines[-1] = longer
        for at, line in enumerate(lines):
            self.text(x, y + at * round(1.5 * size), line, size, color, width=width)
        return y + len(lines) * round(1.5 * size)

    def fill(self, box: Box, color: Color) -> None:
        """Draw a filled rectangle; right and bottom are exclusive."""
        x0, y0, x1, y1 = (round(side) for side in box)
        if x1 > x0 and y1 > y0:
            self.draw.rectangle((x0, y0, x1 - 1, y1 - 1), fill=color)

    def frame(self, box: Box, color: Color, width: int = 1) -> None:
        """Draw the outline of a rectangle, inside its box."""
        x0, y0, x1, y1 = (round(side) for side in box)
        if x1 > x0 and y1 > y0:
            self.draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=color, width=width)

    def hatch(self, box: Box, ground: Color = STATE_COLORS["not seen"], line: Color = HATCH) -> None:
        """Draw a rectangle of slanted lines, for missing data."""
        x0, y0, x1, y1 = (round(side) for side in box)
        if x1 <= x0 or y1 <= y0:
            return
        tile = Image.new("RGB", (x1 - x0, y1 - y0), ground)
        pen = ImageDraw.Draw(tile)
        for start in range(-tile.height - x0 % _STEP, tile.width, _STEP):  # aligned, so that the lines of adjacent rectangles meet
            pen.line((start, tile.height, start + tile.height, 0), fill=line)
        self.image.paste(tile, (x0, y0))

    def darken(self, box: Box, visible: float) -> None:
        """Blend a rectangle with ``INK``; ``visible`` is the share of the picture that remains."""
        x0, y0, x1, y1 = (round(side) for side in box)
        region = self.image.crop((x0, y0, x1, y1))
        self.image.paste(Image.blend(Image.new("RGB", region.size, INK), region, visible), (x0, y0))

    def paste(self, image: UInt8[np.ndarray, "height width 3"], box: Box) -> Box:
        """Draw an image as large as fits into the box, centered, with its aspect ratio; returns its box."""
        x0, y0, x1, y1 = (round(side) for side in box)
        scale = min((x1 - x0) / image.shape[1], (y1 - y0) / image.shape[0])
        width, height = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        shown = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        left, top = x0 + (x1 - x0 - width) // 2, y0 + (y1 - y0 - height) // 2
        self.image.paste(shown, (left, top))
        return (left, top, left + width, top + height)

    def crop(self, height: float) -> Image.Image:
        """Return the image down to this row."""
        return self.image.crop((0, 0, self.image.width, round(height)))


def format_time(seconds: float, digits: int = 2) -> str:
    """``7.25 s``, ``2:07.25``, ``1:02:07.25``."""
    sign, rest = ("-" if seconds < 0 else ""), round(abs(seconds), digits)
    hours, minutes, rest = int(rest // 3600), int(rest // 60 % 60), rest % 60
    padded = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    if hours:
        return f"{sign}{hours}:{minutes:02d}:{padded}"
    return f"{sign}{minutes}:{padded}" if minutes else f"{sign}{rest:.{digits}f} s"
