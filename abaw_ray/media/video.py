"""A video file -> its pictures one after the other, each with its number, its own presentation time, the right way up.

Sound is ``audio.py``'s. Nothing is taken from the header: neither the number of frames nor the rate (``DATA.md``: both are hints, and wrong
in real files). One thread a decoder: more do not add throughput per core (``FLOOR.md``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from abaw_ray.core.errors import ItemError
from abaw_ray.media.clock import Clock
from abaw_ray.media.source import Source, opened

_COARSE = (36, 64)
"""Rows and columns of the coarse brightness."""
_FALLBACK_STEP = 0.04
"""Seconds between frames of a file that states neither times nor a rate."""


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


def decode(uri: str) -> Iterator[Frame]:
    """Decode the main video stream from its beginning to its end, once.

    Times are the file's own; what ``clock.py`` makes of missing ones, always ascends. A change of size in mid-stream is no error.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Yields:
        Frames, numbered from 1 without a gap.

    Raises:
        DataError: there is no such file.
        StorageError: a remote file could not be read; it may be tried again.
        ItemError: not a video, no picture in it, or its content breaks in mid-stream; ``last_frame`` is the last good one.

    Source: ours.
    """
    with opened(uri) as source:
        stream = _main_stream(source)
        rate = stream.guessed_rate or stream.average_rate
        clock, reformatter = Clock(float(1 / rate) if rate else _FALLBACK_STEP), VideoReformatter()
        pictures, number = source.container.decode(stream), 0
        while (picture := _next(source, pictures, number)) is not None:
            number += 1
            yield Frame(number, clock.time(_stamp(picture)), picture, reformatter)
        if source.lost:  # libav takes some lost connections for the end of the file
            raise source.error(EOFError("the connection was lost"), "reading broke off", number)
        if number == 0:
            raise ItemError("the file has a video stream, but no picture could be decoded from it")


def _main_stream(source: Source) -> av.VideoStream:
    """The stream that libav calls best, cover pictures of music aside."""
    films = [stream for stream in source.container.streams.video if not stream.disposition & av.stream.Disposition.attached_pic]
    if not films:
        raise ItemError("the file holds no video stream")
    best = source.container.streams.best("video")
    stream = best if best in films else films[0]
    if stream.codec_context is None:
        raise ItemError("its video stream is coded in a way that this build of libav cannot decode")
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def _next(source: Source, pictures: Iterator[av.VideoFrame], number: int) -> av.VideoFrame | None:
    try:
        return next(pictures, None)
    except (av.FFmpegError, OSError) as error:
        reason = f"decoding broke after frame {number}" if number else "no picture could be decoded"
        raise source.error(error, reason, number or None) from error


def _stamp(picture: av.VideoFrame) -> float | None:
    """What the file says of its time; the packet's decoding time where it has no presentation time (then they are the same)."""
    ticks = picture.pts if picture.pts is not None else picture.dts
    return None if ticks is None else float(ticks * picture.time_base)


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
