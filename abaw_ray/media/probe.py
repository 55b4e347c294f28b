"""Start, duration and shape of the pixels of a video from its header. The first two are only hints: they are often wrong (``docs/data.md``)."""

from collections.abc import Callable

import av

from abaw_ray.core.errors import ItemError
from abaw_ray.media.source import open_media


def header_start_and_duration(uri: str) -> tuple[float, float]:
    """Start and duration of the video in seconds, as its header states them; 0 where it states none.

    Raises:
        MissingError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: the file is not a video.

    Source: ours.
    """
    with open_media(uri) as source:
        if not source.container.streams.video:
            raise ItemError("the file has no video stream")
        start, duration = source.container.start_time or 0, source.container.duration or 0
    return start / av.time_base, max(duration / av.time_base, 0.0)


def header_pixel_aspect(uri: str) -> float:
    """Width over height of a pixel of the coded frames, as the header states it; 1 where it states none. Errors as above."""
    with open_media(uri) as source:
        aspects = [stream.sample_aspect_ratio for stream in source.container.streams.video]
    aspect = next((aspect for aspect in aspects if aspect), None)
    return float(aspect) if aspect else 1.0


def header_reader() -> Callable[[str], tuple[float, float]]:
    """Returns ``header_start_and_duration``: the factory function for a ``ChildProcess``."""
    return header_start_and_duration
