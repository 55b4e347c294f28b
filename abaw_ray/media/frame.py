"""One decoded picture: its number, its time, and its pixels the right way up, at full size, made smaller, or of one region.

Which pictures there are is ``video.py``'s. Everything is made straight from the decoder's planes, no more of it than is asked for.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

_COARSE = (36, 64)
"""Rows and columns of the coarse brightness."""
_GRID = 8
"""Pixels: no format shares colours over more than four (4:1:0)."""


class Converter:
    """libswscale for the pictures of one video: a scaler and a converter, whose tables are made anew only when sizes change."""

    def __init__(self) -> None:
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()
        self._turned: tuple[tuple[int, int, int], tuple[int, int, int, int]] | None = None

    def turn(self, picture: av.VideoFrame) -> tuple[int, int, int, int]:
        """The display matrix of a picture, looked up where it may have changed.

        Who asks PyAV for a picture's side data ties the two together until Python next looks for such cycles, which may be hundreds of videos
        later; and one picture holds the memory of all that its decoder ever had. So a small copy is asked.
        """
        known = (picture.rotation, picture.width, picture.height)
        if self._turned is None or self._turned[0] != known:
            copy = self._scaler.reformat(picture, 16, 16, "gray", interpolation="POINT", threads=1)
            self._turned = (known, _turn(copy))
        return self._turned[1]

    def rgb(self, picture: av.VideoFrame, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """The picture as coded, in RGB, averaged over areas to this size; even sizes are several times as quick as odd ones.

        It is scaled in its own format first, for libswscale has no quick way of doing both at once; so colours stay as coarse beside
        brightness as they are coded, which is how a JPEG keeps them too. threads=1: its own threads cost several times the work.
        """
        if (width, height) != (picture.width, picture.height) and not picture.format.is_rgb:
            picture = self._scaler.reformat(picture, width, height, picture.format.name, interpolation="AREA", threads=1)
        return self._converter.reformat(picture, width, height, "rgb24", interpolation="AREA", threads=1).to_ndarray()

    def grey(self, picture: av.VideoFrame, width: int, height: int) -> UInt8[np.ndarray, "height width"]:
        """Brightness as coded at points of this grid."""
        return self._scaler.reformat(picture, width, height, "gray", interpolation="POINT", threads=1).to_ndarray()


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture. It keeps the decoder's buffer alive: hold few."""

    number: int
    """From 1, in the decoder's OUTPUT order; packets come in another order, and some give no picture."""
    time: float
    """Presentation time in seconds on the container's clock; ascends from frame to frame."""
    picture: av.VideoFrame
    """As coded: not yet turned."""
    converter: "Converter"
    """Shared by the frames of one video."""

    @cached_property
    def turn(self) -> tuple[int, int, int, int]:
        """The display matrix ``(a, b, c, d)`` as signs: shown x = a x + c y, shown y = b x + d y. (1, 0, 0, 1) is upright."""
        return self.converter.turn(self.picture)

    @property
    def width(self) -> int:
        """Pixels, upright."""
        return self.picture.width if self.turn[0] else self.picture.height

    @property
    def height(self) -> int:
        """Pixels, upright."""
        return self.picture.height if self.turn[0] else self.picture.width

    def rgb(self) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture in RGB, at full size; made anew at each call."""
        return _upright(self.converter.rgb(self.picture, self.picture.width, self.picture.height), self.turn)

    def scaled(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture in RGB at this size, averaged over areas, straight from the decoder's planes."""
        coded = (width, height) if self.turn[0] else (height, width)
        return _upright(self.converter.rgb(self.picture, *coded), self.turn)

    def region(self, left: int, top: int, width: int, height: int, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "rows columns 3"]:
        """One rectangle of the upright picture in RGB; as it stands in ``rgb``, or averaged over areas to another size.

        Only this rectangle is converted: for a face that is a tenth of the cost of a whole 1080p picture.

        Args:
            left: Pixels of the upright picture; the rectangle must lie inside it.
            top: Likewise.
            width: Likewise, at least 1.
            height: Likewise, at least 1.
            size: Width and height of the result, None for the rectangle's own.

        Raises:
            ValueError: the rectangle leaves the picture.
        """
        if left < 0 or top < 0 or width < 1 or height < 1 or left + width > self.width or top + height > self.height:
            raise ValueError(f"{width} x {height} pixels at {left}, {top} leave the picture of {self.width} x {self.height}")
        x, y, w, h = _coded(left, top, width, height, self.picture, self.turn)
        columns, rows = (w, h) if size is None else size if self.turn[0] else size[::-1]
        if (columns, rows) == (w, h):
            return _upright(self._as_it_stands(x, y, w, h), self.turn)
        part = cut_planes(self.picture, x, y, w, h)
        if part is None:
            return _upright(cv2.resize(self._as_it_stands(x, y, w, h), (columns, rows), interpolation=cv2.INTER_AREA), self.turn)
        return _upright(self.converter.rgb(part, columns, rows), self.turn)

    @cached_property
    def coarse_luma(self) -> UInt8[np.ndarray, "36 64"]:
        """Brightness at 64 x 36 points, as coded (not turned): for comparing neighbouring frames at next to no cost."""
        kind = self.picture.format
        eight_bit = kind.name.startswith(("yuv", "nv", "gray")) and kind.components[0].bits == 8 and not kind.name.startswith("yuyv")
        if not eight_bit:
            return self.converter.grey(self.picture, _COARSE[1], _COARSE[0])
        plane = self.picture.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows, columns = _points(self.picture.height, _COARSE[0]), _points(self.picture.width, _COARSE[1])
        return luma.take(rows, axis=0).take(columns, axis=1)  # whole lines first: points far apart in memory cost more than to copy all

    def _as_it_stands(self, x: int, y: int, w: int, h: int) -> np.ndarray:
        """A rectangle of the coded picture, converted with a margin, so that every pixel is what the whole picture shows there."""
        x0, y0 = max(x - x % _GRID - _GRID, 0), max(y - y % _GRID - _GRID, 0)
        wide, high = min(_up(x + w) + _GRID, self.picture.width) - x0, min(_up(y + h) + _GRID, self.picture.height) - y0
        part = cut_planes(self.picture, x0, y0, wide, high)
        if part is None:
            return self.converter.rgb(self.picture, self.picture.width, self.picture.height)[y : y + h, x : x + w]
        return self.converter.rgb(part, wide, high)[y - y0 : y - y0 + h, x - x0 : x - x0 + w]


def cut_planes(picture: av.VideoFrame, x: int, y: int, width: int, height: int) -> av.VideoFrame | None:
    """A rectangle of a coded picture as a picture of its own, in the same format; None for formats that are not plain planes.

    Where the rectangle does not begin on the grid of the colours, they are up to a pixel off; brightness is exact.
    """
    kind = picture.format
    plain = len(picture.planes) == len(kind.components) <= 3 and not (kind.is_rgb or kind.has_palette or kind.is_bit_stream)
    if not plain or 2 * kind.chroma_width(_GRID) < _GRID:
        return None
    part, many = av.VideoFrame(width, height, kind.name), np.uint8 if kind.components[0].bits == 8 else np.uint16
    for number, (source, target) in enumerate(zip(picture.planes, part.planes, strict=True)):
        across, down = (_GRID // kind.chroma_width(_GRID), _GRID // kind.chroma_height(_GRID)) if number else (1, 1)
        rows, columns = slice(y // down, y // down + target.height), slice(x // across, x // across + target.width)
        _samples(target, many)[:, : target.width] = _samples(source, many)[rows, columns]
    part.colorspace, part.color_range = picture.colorspace, picture.color_range
    return part


@lru_cache(maxsize=8)
def _points(pixels: int, many: int) -> np.ndarray:
    """The pixels in the middles of as many equal parts of a side."""
    return (np.arange(many) * pixels + pixels // 2) // many


def _samples(plane: av.video.plane.VideoPlane, many: type) -> np.ndarray:
    """The numbers of a plane, with what stands behind the end of each line."""
    return np.frombuffer(plane, many).reshape(-1, plane.line_size // np.dtype(many).itemsize)[: plane.height]


def _up(pixels: int) -> int:
    """The next line of the grid."""
    return -(-pixels // _GRID) * _GRID


def _coded(left: int, top: int, width: int, height: int, picture: av.VideoFrame, turn: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Where a rectangle of the upright picture lies in the coded one: x, y, width, height."""
    a, b, c, d = turn
    if a:
        x = left if a > 0 else picture.width - left - width
        y = top if d > 0 else picture.height - top - height
        return x, y, width, height
    x = top if b > 0 else picture.width - top - height
    y = left if c > 0 else picture.height - left - width
    return x, y, height, width


def _turn(picture: av.VideoFrame) -> tuple[int, int, int, int]:
    for data in picture.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
            if abs(a) + abs(d) >= abs(b) + abs(c):  # the nearest right angle; others are not used by cameras
                return (1 if a >= 0 else -1, 0, 0, 1 if d >= 0 else -1)
            return (0, 1 if b >= 0 else -1, 1 if c >= 0 else -1, 0)
    return (1, 0, 0, 1)


def _upright(coded: np.ndarray, turn: tuple[int, int, int, int]) -> np.ndarray:
    a, b, c, d = turn
    shown = coded if a else coded.transpose(1, 0, 2)
    flip_x, flip_y = (a if a else c) < 0, (d if a else b) < 0
    return np.ascontiguousarray(shown[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
