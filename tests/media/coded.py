"""Numbered images -> video files in a given container, codec, frame order and pixel format; and the numbers of decoded frames."""

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


def numbered_images(count: int, width: int = 96, height: int = 64) -> Iterable[np.ndarray]:
    """Images that show their number by the length of a bright bar, over a moving texture."""
    texture = np.kron(np.random.default_rng(0).integers(30, 70, (60, 60, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    for number in range(count):
        image = np.ascontiguousarray(texture[number % 60 : number % 60 + height, number % 60 : number % 60 + width])
        image[height // 2 :, : 4 + number % (width - 4)] = 220
        yield image


def number_of(rgb: np.ndarray) -> int:
    """The number that an image shows."""
    return int((rgb[-4].mean(axis=-1) > 140).sum()) - 4


def packets(codec: str, images: Iterable[np.ndarray], *, pixels: str = "yuv420p", options: dict | None = None, b_frames: int = 0, group: int = 12):
    """The coded packets of images, with times in ticks of 1/25 s, and the encoder."""
    encoder, coded = av.CodecContext.create(codec, "w"), []
    encoder.pix_fmt, encoder.time_base, encoder.framerate, encoder.options = pixels, Fraction(1, RATE), Fraction(RATE), options or {}
    encoder.gop_size, encoder.max_b_frames, encoder.thread_count = group, b_frames, 1
    for number, image in enumerate(images):
        if not encoder.is_open:
            encoder.height, encoder.width = image.shape[:2]
        frame = av.VideoFrame.from_ndarray(image)
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        coded += encoder.encode(frame)
    return coded + encoder.encode(None), encoder


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
    """Write numbered images at 25 per second, the first at ``start`` ticks; the extension selects the container. Returns the path."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.gop_size, stream.codec_context.thread_count = group, 1
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        for number, image in enumerate(numbered_images(count, *size)):
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = start + number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return str(path)


def padded(data: bytes, size: int) -> bytes:
    """An H.264 packet padded by a unit that decoders skip, because the size of encoded packets differs between processors."""
    assert len(data) + 7 <= size
    return data + b"\0\0\0\1\x0c" + b"\xff" * (size - len(data) - 6) + b"\x80"


def write_packets(path: Path | str, codec: str, size: tuple[int, int], data: Iterable[tuple[bytes, int, int]]) -> str:
    """Write a file of packets: bytes, presentation tick, decoding tick. Returns the path."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number, (content, shown, decoded) in enumerate(data):
            packet = av.Packet(content)
            packet.pts, packet.dts, packet.time_base, packet.stream, packet.is_keyframe = shown, decoded, Fraction(1, RATE), stream, number == 0
            file.mux(packet)
    return str(path)


def check_frames(path: Path | str, count: int, *, first: float = 0.0, repaired: bool = False) -> list[Frame]:
    """The decoded frames; asserts that there is one for each image, in order and at its time."""
    clock = Clock()
    frames = list(decode(str(path), clock=clock))
    assert [frame.number for frame in frames] == list(range(1, count + 1))
    assert [number_of(frame.rgb()) for frame in frames] == pytest.approx(range(count), abs=1)
    np.testing.assert_allclose([frame.time for frame in frames], first + np.arange(count) / RATE, atol=1.1e-3)
    assert clock.repaired == repaired
    return frames
