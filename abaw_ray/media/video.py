"""A video file -> its pictures one after the other, each with its number, its own presentation time, the right way up.

Sound is ``audio.py``'s, what a picture is ``frame.py``'s. Nothing is taken from the header: neither the number of frames nor the rate
(``DATA.md``: both are hints, and wrong in real files). One thread a decoder: more do not add throughput per core (``FLOOR.md``).
"""

from collections.abc import Iterator

import av
from av.video.reformatter import VideoReformatter

from abaw_ray.core.errors import ItemError
from abaw_ray.media.clock import Clock
from abaw_ray.media.frame import Frame
from abaw_ray.media.source import Source, opened

_FALLBACK_STEP = 0.04
"""Seconds between frames of a file that states neither times nor a rate."""


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
