from pathlib import Path

import av
import numpy as np
import pytest

from abaw_ray.media.write import write_video


def counted_images(count, width=96, height=64):
    """Images that show their number by the length of a bright bar, with a white corner at the top left."""
    for number in range(count):
        image = np.full((height, width, 3), 40, np.uint8)
        image[height // 2 :, : 4 + number % (width - 4)] = 200
        image[: height // 8, : width // 4] = 255
        yield image


@pytest.fixture
def images():
    return counted_images


@pytest.fixture
def video(tmp_path):
    """A function that writes a video of counted images at the given times; returns its path."""

    def make(times, audio=None, name="video.mp4", **options) -> str:
        write_video(tmp_path / name, counted_images(len(times)), np.asarray(times, dtype=float), audio, **options)
        return str(tmp_path / name)

    return make


@pytest.fixture
def uneven():
    """Times of a variable rate, 10 to 60 frames per second, that do not start at 0."""
    return np.cumsum(np.random.default_rng(0).uniform(1 / 60, 1 / 10, size=80))


@pytest.fixture
def packet_times():
    """A function that reads the presentation times of a file's video packets in ascending order, without decoding."""

    def read(path) -> list[float]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return sorted(float(packet.pts * packet.time_base) for packet in container.demux(stream) if packet.pts is not None)

    return read


@pytest.fixture
def truncated():
    """A function that writes a copy of a file with only the given share of its bytes; returns its path."""

    def cut(path, share) -> str:
        data = Path(path).read_bytes()
        target = Path(path).with_name("short" + Path(path).suffix)
        target.write_bytes(data[: int(len(data) * share)])
        return str(target)

    return cut
