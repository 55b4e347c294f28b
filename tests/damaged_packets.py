"""Damages a part of a video file."""

from pathlib import Path

import av
import numpy as np


def damage_packets(path: Path, kind: str, start: float, stop: float) -> None:
    """Overwrite the packets of a stream in a part of the video, with numbers that no decoder accepts."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        packets = [(packet.pos, packet.size) for packet in container.demux(stream) if packet.size and start < packet.pts * packet.time_base < stop]
    content = bytearray(path.read_bytes())
    for position, size in packets:
        content[position : position + size] = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(content)
