"""The header of a video -> what a plan needs: duration, size, frame rate, sound, and whether browsers play it. Nothing is decoded."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import av

from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.core.process.crash_retry import CrashRetry
from abaw_ray.media.playback.playability import playability, video_streams
from abaw_ray.media.source import open_media

_ASSUMED_FPS = 30.0
"""Frames per second where the header states none. Ours."""
_READERS = 8
"""Headers that are read at the same time: most of the time of a remote one is waiting. Ours."""


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What a header states; it may be wrong (``docs/data.md``)."""

    duration_s: float
    """Seconds; 0 where it states none."""
    width: int
    """Pixels of the coded frames."""
    height: int
    """Pixels of the coded frames."""
    fps: float
    """Mean frames per second."""
    has_audio: bool
    plays: bool
    """Whether browsers play the file as it is."""


def read_header(uri: str) -> VideoHeader:
    """Read the header.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Raises:
        MissingError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: the file is not a video.
    """
    with open_media(uri) as source:
        stream, duration = video_streams(source)[0], source.container.duration or 0
        return VideoHeader(
            duration_s=max(duration / av.time_base, 0.0),
            width=stream.width,
            height=stream.height,
            fps=float(stream.average_rate or stream.guessed_rate or _ASSUMED_FPS),
            has_audio=bool(source.container.streams.audio),
            plays=playability(source).plays,
        )


def make_header_reader() -> Callable[[str], VideoHeader]:
    """Returns ``read_header``: the factory function for a ``ChildProcess``."""
    return read_header


def read_headers(uris: Sequence[str], limits: ChildLimits) -> list[VideoHeader | str]:
    """The headers of several videos, or why one cannot be read, in their order; several at a time in child processes, as a damaged file may crash.

    Args:
        uris: Local paths or URIs that pyarrow understands.
        limits: Limits of the child processes.
    """
    readers = [CrashRetry(ChildProcess(make_header_reader, limits)) for _ in range(min(len(uris), _READERS))]
    free: SimpleQueue[CrashRetry[VideoHeader]] = SimpleQueue()
    for reader in readers:
        free.put(reader)

    def read(uri: str) -> VideoHeader | str:
        reader = free.get()
        try:
            outcome = reader.call(uri, uri)
            return outcome.value or outcome.reason
        except (ItemError, DataError, StorageError) as error:
            return str(error)
        finally:
            free.put(reader)

    try:
        with ThreadPoolExecutor(max(len(readers), 1), thread_name_prefix="read-header") as pool:
            return list(pool.map(read, uris))
    finally:
        for reader in readers:
            reader.child.close()
