"""One decoded picture: its number, its time, and its pixels the right way up, at full size, made smaller, or of one region.

Which pictures there are is ``video.py``'s. Everything is made straight from the decoder's planes, no more of it than is asked for.
"""

from dataclasses import dataclass
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

_COARSE = (36, 64)
"""Rows and columns of the coarse brightness."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture. It keeps the decoder's buffer alive: hold few."""

    number: int
    """From 1, in the decoder's OUTPUT order; packets come in another order, and some give no picture."""
    time: float
    """Presentation time in seconds on the container's clock; ascends from frame to frame."""
    picture: av.VideoFrame
    """As coded: not yet turned."""
    reformatter: VideoReformatter
    """Shared by the frames of one video: libswscale's tables are made once."""

    @cached_property
    def turn(self) -> tuple[int, int, int, int]:
        """The display matrix ``(a, b, c, d)`` as signs: shown x = a x + c y, shown y = b x + d y. (1, 0, 0, 1) is upright."""
        return _turn(self.picture)

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
        return _upright(self._convert(self.picture.width, self.picture.height, "BILINEAR"), self.turn)

    def scaled(self, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
        """The upright picture in RGB at this size, averaged over areas, straight from the decoder's planes."""
        coded = (width, height) if self.turn[0] else (height, width)
        return _upright(self._convert(*coded, "AREA"), self.turn)

    def coarse_luma(self) -> UInt8[np.ndarray, "36 64"]:
        """Brightness at 64 x 36 points, as coded (not turned): for comparing neighbouring frames at next to no cost."""
        kind = self.picture.format
        eight_bit = kind.name.startswith(("yuv", "nv", "gray")) and kind.components[0].bits == 8 and not kind.name.startswith("yuyv")
        if not eight_bit:
            return self.reformatter.reformat(self.picture, _COARSE[1], _COARSE[0], "gray", interpolation="POINT", threads=1).to_ndarray()
        plane = self.picture.planes[0]
        luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        rows = (np.arange(_COARSE[0]) * self.picture.height + self.picture.height // 2) // _COARSE[0]
        columns = (np.arange(_COARSE[1]) * self.picture.width + self.picture.width // 2) // _COARSE[1]
        return luma[np.ix_(rows, columns)]

    def _convert(self, width: int, height: int, method: str) -> np.ndarray:
        # threads=1: libswscale's own threads cost several times the work of one such picture
        return self.reformatter.reformat(self.picture, width, height, "rgb24", interpolation=method, threads=1).to_ndarray()


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
