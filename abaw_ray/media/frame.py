"""One decoded frame: its number, its time, and its upright pixels in RGB, at full size, resized, or cropped.

``video.py`` decodes the frames. Only the requested pixels are converted from the decoder's planes.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import av
import cv2
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

Orientation = tuple[int, int, int, int]
"""A display matrix ``(a, b, c, d)`` as signs: shown x = a x + c y, shown y = b x + d y. (1, 0, 0, 1) is upright."""
Rectangle = tuple[int, int, int, int]
"""x, y, width, height in pixels."""
_COARSE = (36, 64)
"""Rows and columns of ``Frame.coarse_luma``."""
_GRID = 8
"""Pixels: crops are aligned to this grid; no format shares chroma among more than four pixels (4:1:0)."""


class Converter:
    """libswscale for the frames of one video: a scaler and a converter, whose tables are rebuilt only when sizes change."""

    def __init__(self) -> None:
        self._scaler, self._converter = VideoReformatter(), VideoReformatter()
        self._orientation: tuple[tuple[int, int, int], Orientation] | None = None

    def orientation(self, frame: av.VideoFrame) -> Orientation:
        """The display matrix of a frame, read again where it may have changed.

        It is read from a small copy: PyAV's side data and their frame form a reference cycle, which Python may collect hundreds of videos
        later, and one frame keeps alive all memory that its decoder ever used.
        """
        key = (frame.rotation, frame.width, frame.height)
        if self._orientation is None or self._orientation[0] != key:
            copy = self._scaler.reformat(frame, 16, 16, "gray", interpolation="POINT", threads=1)
            self._orientation = (key, _read_orientation(copy))
        return self._orientation[1]

    def rgb(self, frame: av.VideoFrame, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
        """The coded frame in RGB, resized to this size by area averaging; even sizes are several times as fast as odd ones.

        It is resized in its own format first, because libswscale has no fast path for both steps at once. So chroma keeps its subsampling
        relative to luma, as in a JPEG. threads=1: the threads of libswscale cost several times the work.
        """
        if (width, height) != (frame.width, frame.height) and not frame.format.is_rgb:
            frame = self._scaler.reformat(frame, width, height, frame.format.name, interpolation="AREA", threads=1)
        return self._converter.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1).to_ndarray()

    def luma(self, frame: av.VideoFrame, width: int, height: int) -> UInt8[np.ndarray, "{height} {width}"]:
        """Luma of the coded frame, sampled at the points of a grid of this size."""
        return self._scaler.reformat(frame, width, height, "gray", interpolation="POINT", threads=1).to_ndarray()


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame. It keeps the decoder's buffer alive: hold few at a time."""

    number: int
    """From 1, in the decoder's OUTPUT order; packets have another order, and some give no frame."""
    time: float
    """Presentation time in seconds on the container's clock; ascends from frame to frame."""
    av_frame: av.VideoFrame
    """As coded, not rotated upright."""
    converter: Converter
    """Shared by the frames of one video."""

    @cached_property
    def orientation(self) -> Orientation:
        """How the coded frame is rotated or mirrored to be upright."""
        return self.converter.orientation(self.av_frame)

    @property
    def width(self) -> int:
        """Width of the upright frame in pixels."""
        return self.av_frame.width if self.orientation[0] else self.av_frame.height

    @property
    def height(self) -> int:
        """Height of the upright frame in pixels."""
        return self.av_frame.height if self.orientation[0] else self.av_frame.width

    def rgb(self) -> UInt8[np.ndarray, "height width 3"]:
        """The upright frame in RGB, at full size; converted at each call."""
        return _upright(self.converter.rgb(self.av_frame, self.av_frame.width, self.av_frame.height), self.orientation)

    def resized(self, width: int, height: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
        """The upright frame in RGB at this size, resized by area averaging from the decoder's planes."""
        coded = (width, height) if self.orientation[0] else (height, width)
        return _upright(self.converter.rgb(self.av_frame, *coded), self.orientation)

    def crop(self, left: int, top: int, width: int, height: int, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "rows columns 3"]:
        """One rectangle of the upright frame in RGB: the same pixels as in ``rgb``, or resized by area averaging.

        Only this rectangle is converted: for a face, that takes a tenth of the time of a whole 1080p frame.

        Args:
            left: Left edge in pixels of the upright frame; the rectangle must lie inside it.
            top: Top edge.
            width: At least 1.
            height: At least 1.
            size: Width and height of the result in pixels; None keeps those of the rectangle.

        Raises:
            ValueError: the rectangle extends beyond the frame.
        """
        if left < 0 or top < 0 or width < 1 or height < 1 or left + width > self.width or top + height > self.height:
            raise ValueError(f"{width} x {height} pixels at {left}, {top} extend beyond the frame of {self.width} x {self.height}")
        x, y, w, h = _coded_rectangle(left, top, width, height, self.av_frame, self.orientation)
        columns, rows = (w, h) if size is None else size if self.orientation[0] else size[::-1]
        if (columns, rows) == (w, h):
            return _upright(self._crop_unscaled(x, y, w, h), self.orientation)
        crop = crop_planes(self.av_frame, x, y, w, h)
        if crop is None:
            return _upright(cv2.resize(self._crop_unscaled(x, y, w, h), (columns, rows), interpolation=cv2.INTER_AREA), self.orientation)
        return _upright(self.converter.rgb(crop, columns, rows), self.orientation)

    @cached_property
    def coarse_luma(self) -> UInt8[np.ndarray, "36 64"]:
        """Luma at 64 x 36 points of the coded frame (not rotated), for a cheap comparison of neighboring frames."""
        kind = self.av_frame.format
        eight_bit = kind.name.startswith(("yuv", "nv", "gray")) and kind.components[0].bits == 8 and not kind.name.startswith("yuyv")
        if not eight_bit:
            return self.converter.luma(self.av_frame, _COARSE[1], _COARSE[0])
        luma = _plane_samples(self.av_frame.planes[0], np.uint8)
        rows, columns = _grid_points(self.av_frame.height, _COARSE[0]), _grid_points(self.av_frame.width, _COARSE[1])
        return luma.take(rows, axis=0).take(columns, axis=1)  # rows first: copying whole rows is cheaper than reading scattered points

    def _crop_unscaled(self, x: int, y: int, w: int, h: int) -> np.ndarray:
        """A rectangle of the coded frame, converted with a margin, so that its pixels equal those of the converted whole frame."""
        x0, y0 = max(x - x % _GRID - _GRID, 0), max(y - y % _GRID - _GRID, 0)
        wide, high = min(_round_up(x + w) + _GRID, self.av_frame.width) - x0, min(_round_up(y + h) + _GRID, self.av_frame.height) - y0
        crop = crop_planes(self.av_frame, x0, y0, wide, high)
        if crop is None:
            return self.converter.rgb(self.av_frame, self.av_frame.width, self.av_frame.height)[y : y + h, x : x + w]
        return self.converter.rgb(crop, wide, high)[y - y0 : y - y0 + h, x - x0 : x - x0 + w]


def crop_planes(frame: av.VideoFrame, x: int, y: int, width: int, height: int) -> av.VideoFrame | None:
    """A rectangle of a coded frame as a frame of its own, in the same format; None for formats other than plain planes.

    If the rectangle does not start on the chroma grid, chroma is shifted by up to a pixel; luma is exact.
    """
    kind = frame.format
    plain = len(frame.planes) == len(kind.components) <= 3 and not (kind.is_rgb or kind.has_palette or kind.is_bit_stream)
    if not plain or 2 * kind.chroma_width(_GRID) < _GRID:
        return None
    crop, dtype = av.VideoFrame(width, height, kind.name), np.uint8 if kind.components[0].bits == 8 else np.uint16
    for number, (source, target) in enumerate(zip(frame.planes, crop.planes, strict=True)):
        across, down = (_GRID // kind.chroma_width(_GRID), _GRID // kind.chroma_height(_GRID)) if number else (1, 1)
        rows, columns = slice(y // down, y // down + target.height), slice(x // across, x // across + target.width)
        _plane_samples(target, dtype)[:, : target.width] = _plane_samples(source, dtype)[rows, columns]
    crop.colorspace, crop.color_range = frame.colorspace, frame.color_range
    return crop


@lru_cache(maxsize=8)
def _grid_points(pixels: int, count: int) -> np.ndarray:
    """Indices of the pixels in the centers of ``count`` equal parts of a side."""
    return (np.arange(count) * pixels + pixels // 2) // count


def _plane_samples(plane: VideoPlane, dtype: type) -> np.ndarray:
    """The samples of a plane, with the padding at the end of each row."""
    samples = np.frombuffer(plane, dtype)  # pyright: ignore[reportCallIssue, reportArgumentType] (a buffer, which PyAV's stubs do not say)
    return samples.reshape(-1, plane.line_size // np.dtype(dtype).itemsize)[: plane.height]


def _round_up(pixels: int) -> int:
    """The next multiple of ``_GRID``."""
    return -(-pixels // _GRID) * _GRID


def _coded_rectangle(left: int, top: int, width: int, height: int, frame: av.VideoFrame, orientation: Orientation) -> Rectangle:
    """Where a rectangle of the upright frame lies in the coded one."""
    a, b, c, d = orientation
    if a:
        x = left if a > 0 else frame.width - left - width
        y = top if d > 0 else frame.height - top - height
        return x, y, width, height
    x = top if b > 0 else frame.width - top - height
    y = left if c > 0 else frame.height - left - width
    return x, y, height, width


def _read_orientation(frame: av.VideoFrame) -> Orientation:
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":  # pyright: ignore[reportAttributeAccessIssue] (PyAV's stubs iterate over names)
            a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()  # pyright: ignore[reportArgumentType] (likewise)
            if abs(a) + abs(d) >= abs(b) + abs(c):  # the nearest right angle; cameras use no other angles
                return (1 if a >= 0 else -1, 0, 0, 1 if d >= 0 else -1)
            return (0, 1 if b >= 0 else -1, 1 if c >= 0 else -1, 0)
    return (1, 0, 0, 1)


def _upright(coded: np.ndarray, orientation: Orientation) -> np.ndarray:
    a, b, c, d = orientation
    shown = coded if a else coded.transpose(1, 0, 2)
    flip_x, flip_y = (a if a else c) < 0, (d if a else b) < 0
    return np.ascontiguousarray(shown[:: -1 if flip_y else 1, :: -1 if flip_x else 1])
