"""A video -> how long its header says it is: a hint for sharing out work, and no more than that (``DATA.md``: headers lie)."""

from collections.abc import Callable

import av

from abaw_ray.core.errors import ItemError
from abaw_ray.media.source import opened


def header_span(uri: str) -> tuple[float, float]:
    """When the video begins and how long it is, in seconds, as its header has it; 0 where it says nothing.

    Raises:
        MissingError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: it is no video.

    Source: ours.
    """
    with opened(uri) as source:
        if not source.container.streams.video:
            raise ItemError("the file holds no video stream")
        begin, length = source.container.start_time or 0, source.container.duration or 0
    return begin / av.time_base, max(length / av.time_base, 0.0)


def header_reader() -> Callable[[str], tuple[float, float]]:
    """``header_span``, as what builds the work of a child process."""
    return header_span
