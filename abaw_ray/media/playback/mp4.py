"""Images with their times, and a file of sound -> an MP4 that every browser plays: H.264, even sides, upright, square pixels, index in front.

``sound.py`` writes the sound. Both are interleaved by time, so memory does not grow with the length.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from jaxtyping import UInt8

from abaw_ray.media.clock import to_seconds
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.frame import Frame
from abaw_ray.media.write import MP4_OPTIONS, add_h264

_TICKS = 90_000
"""Ticks per second of the video's clock."""
_RATE_HINT = Fraction(30)
"""Frame rate that the encoder is told; the frames' times do not depend on it."""
_KEY_FRAME_INTERVAL = 60
"""Frames between two key frames: a page seeks to any frame, and the browser decodes from the key frame before it. Ours."""
_BT709 = 1
"""Number of BT.709 in H.264's tables of primaries and transfer functions."""


def playback_size(frame: Frame, pixel_aspect: float, max_side: int) -> tuple[int, int]:
    """Width and height at which a frame is shown: upright, with square pixels, even, the longer side at most ``max_side``.

    Args:
        frame: Any frame of the video.
        pixel_aspect: Width over height of a pixel of the coded frame.
        max_side: Pixels.
    """
    across, down = (pixel_aspect, 1.0) if frame.orientation[0] else (1.0, pixel_aspect)
    width, height = frame.width * across, frame.height * down
    scale = min(max_side / max(width, height), 1.0)
    return max(2 * round(width * scale / 2), 2), max(2 * round(height * scale / 2), 2)


class Mp4Writer:
    """Encodes one video, frame by frame; a context manager. After an exception the incomplete file is deleted."""

    def __init__(self, path: Path, size: tuple[int, int], encoding: EncodingConfig, sound: Path | None) -> None:
        """Open the file.

        Args:
            path: An ``.mp4`` file in an existing folder.
            size: Width and height in pixels, both even.
            encoding: Quality and speed.
            sound: A file of ``sound.extract_sound``, whose time 0 is that of the video; None for a video without sound.
        """
        self._path, self._stack, self._to_yuv = path, ExitStack(), VideoReformatter()
        with ExitStack() as stack:
            options = MP4_OPTIONS | {"movflags": "+faststart"}
            self._container = stack.enter_context(av.open(str(path), "w", options=options))
            self._video = add_h264(self._container, _RATE_HINT, encoding.crf, encoding.preset)
            self._video.width, self._video.height, self._video.pix_fmt = *size, "yuv420p"
            context = self._video.codec_context
            context.time_base, context.thread_count, context.gop_size = Fraction(1, _TICKS), 1, _KEY_FRAME_INTERVAL
            context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
            context.color_primaries, context.color_trc = _BT709, _BT709
            self._sound = iter(()) if sound is None else self._copy_sound(stack.enter_context(av.open(str(sound))))
            self._pending = next(self._sound, None)
            self._stack = stack.pop_all()
        self._last_tick = -1

    def add(self, image: UInt8[np.ndarray, "height width 3"], time: float) -> None:
        """Encode the next frame: an RGB image of the video's size, at a presentation time in seconds, 0 or more, ascending."""
        tick = self._last_tick = max(round(time * _TICKS), self._last_tick + 1)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = self._to_yuv.reformat(frame, format="yuv420p", dst_colorspace=Colorspace.ITU709, interpolation="AREA", threads=1)
        frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
        self._container.mux(self._video.encode(frame))
        self._write_sound(time)

    def _write_sound(self, time: float) -> None:
        """Write the packets of sound up to a time in seconds."""
        while self._pending is not None and self._pending[0] <= time:
            self._container.mux(self._pending[1])
            self._pending = next(self._sound, None)

    def _copy_sound(self, container: InputContainer) -> Iterator[tuple[float, av.Packet]]:
        """Add a stream for the sound; its packets, with their times in seconds, are read one by one."""
        source = container.streams.audio[0]
        target = self._container.add_stream_from_template(source)

        def packets() -> Iterator[tuple[float, av.Packet]]:
            for packet in container.demux(source):
                if packet.size:
                    packet.stream = target
                    yield to_seconds(packet.dts, packet.time_base) or 0.0, packet

        return packets()

    def __enter__(self) -> "Mp4Writer":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            with self._stack:
                if kind is None:
                    self._container.mux(self._video.encode(None))
                    self._write_sound(float("inf"))
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        if kind is not None:
            self._path.unlink(missing_ok=True)
