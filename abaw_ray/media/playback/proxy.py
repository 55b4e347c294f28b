"""A video -> an H.264/AAC MP4 for the browser: upright, of bounded size, each frame at its own presentation time.

``playability.py`` says which videos need one; ``isolated.py`` runs it in a child process.
"""

from pathlib import Path

from abaw_ray.core.errors import ItemError
from abaw_ray.media.config import EncodingConfig
from abaw_ray.media.playback.mp4 import Mp4Writer, playback_size
from abaw_ray.media.probe import header_pixel_aspect
from abaw_ray.media.video import decode


def first_frame_time(uri: str) -> float:
    """Presentation time of the first frame in seconds; errors as ``decode``."""
    return next(frame.time for frame in decode(uri, max_frames=1))


def write_proxy(uri: str, path: Path, sound: Path | None, start: float, encoding: EncodingConfig, last: int | None = None) -> int:
    """Write the proxy; a damaged video up to the damage.

    Args:
        uri: A local path or a URI that pyarrow understands.
        path: An ``.mp4`` file in an existing folder.
        sound: Written by ``extract_sound`` with the same ``start``; None for no sound.
        start: Time of the first frame in seconds. A frame of time t is at t - ``start`` in the proxy, to 1/90000 s.
        encoding: Size and quality.
        last: Stop after this many frames; None for all.

    Returns:
        The number of frames.

    Raises:
        MissingError: the video does not exist.
        StorageError: a remote file could not be read; a retry may succeed.
        ItemError: no frame can be decoded.

    Source: ours.
    """
    frames = decode(uri, max_frames=last)
    first = next(frames)
    size, count = playback_size(first, header_pixel_aspect(uri), encoding.max_side), 1
    with Mp4Writer(path, size, encoding, sound) as writer:
        writer.add(first.resized(*size), first.time - start)
        try:
            for frame in frames:
                writer.add(frame.resized(*size), frame.time - start)
                count = frame.number
        except ItemError as error:
            if error.last_frame is None:
                raise
    return count
