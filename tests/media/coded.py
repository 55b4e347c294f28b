"""Pictures that tell their number -> video files in whatever container, codec, order and pixel format a test needs; and back again."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from abaw_ray.media.clock import Clock
from abaw_ray.media.frame import Frame
from abaw_ray.media.video import decode

RATE = 25


def telling(count: int, width: int = 96, height: int = 64) -> Iterable[np.ndarray]:
    """Pictures that tell their number by the length of a bright bar, over a texture that moves."""
    texture = np.kron(np.random.default_rng(0).integers(30, 70, (60, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    for number in range(count):
        picture = np.ascontiguousarray(texture[number % 60 : number % 60 + height, number % 60 : number % 60 + width])
        picture[height // 2 :, : 4 + number % (width - 4)] = 220
        yield picture


def told(rgb: np.ndarray) -> int:
    """The number that a picture tells."""
    return int((rgb[-4].mean(axis=-1) > 140).sum()) - 4


def packets(codec: str, pictures: Iterable[np.ndarray], *, pixels: str = "yuv420p", options: dict | None = None, b_frames: int = 0, group: int = 12):
    """Coded packets, numbered in ticks of 1/25 s, and the coder."""
    coder, found = av.CodecContext.create(codec, "w"), []
    coder.pix_fmt, coder.time_base, coder.framerate, coder.options = pixels, Fraction(1, RATE), Fraction(RATE), options or {}
    coder.gop_size, coder.max_b_frames, coder.thread_count = group, b_frames, 1
    for number, picture in enumerate(pictures):
        if not coder.is_open:
            coder.height, coder.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(picture)
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        found += coder.encode(frame)
    return found + coder.encode(None), coder


def write_coded(
    path: Path | str,
    codec: str,
    count: int = 40,
    *,
    size: tuple[int, int] = (96, 64),
    pixels: str = "yuv420p",
    options: dict | None = None,
    container: dict | None = None,
    b_frames: int | None = None,
    start: int = 0,
    group: int = 12,
) -> str:
    """A file of telling pictures at 25 a second, the first of them at ``start`` ticks; the container follows the extension."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size, stream.codec_context.thread_count = group, 1
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        for number, picture in enumerate(telling(count, *size)):
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = start + number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return str(path)


def filled(data: bytes, size: int) -> bytes:
    """H.264 made longer by a unit that decoders skip: how long a coder's own packets are differs from one processor to another."""
    assert len(data) + 7 <= size
    return data + b"\0\0\0\1\x0c" + b"\xff" * (size - len(data) - 6) + b"\x80"


def write_packets(path: Path | str, codec: str, size: tuple[int, int], data: Iterable[tuple[bytes, int, int]]) -> str:
    """A file of packets as they are: bytes, presentation tick, decoding tick."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, (content, shown, decoded) in enumerate(data):
            packet = av.Packet(content)
            packet.pts, packet.dts, packet.time_base, packet.stream, packet.is_keyframe = shown, decoded, Fraction(1, RATE), stream, number == 0
            file.mux(packet)
    return str(path)


def right(path: Path | str, count: int, *, first: float = 0.0, mended: bool = False) -> list[Frame]:
    """The frames, after a look at whether there is one for each picture, in order, at its time."""
    clock = Clock()
    frames = list(decode(str(path), clock=clock))
    assert [frame.number for frame in frames] == list(range(1, count + 1))
    assert [told(frame.rgb()) for frame in frames] == pytest.approx(range(count), abs=1)
    np.testing.assert_allclose([frame.time for frame in frames], first + np.arange(count) / RATE, atol=1.1e-3)
    assert clock.mended == mended
    return frames
