"""A video file -> its pictures one after the other, each with its number, its own presentation time, the right way up.

Sound is ``audio.py``'s, what a picture is ``frame.py``'s. Nothing is taken from the header: neither the number of frames nor the rate
(``DATA.md``: both are hints, and wrong in real files). One thread a decoder: more do not add throughput per core (``FLOOR.md``).
"""

from collections.abc import Iterator
from itertools import chain

import av

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.media.clock import Clock
from abaw_ray.media.frame import Converter, Frame
from abaw_ray.media.source import Source, opened

_LEADS = (0.0, 0.25, 1.0, 4.0, 16.0, 64.0)
"""Seconds by which a jump may aim before the time wanted, one attempt each: containers find places by decoding times, some only roughly."""
_TIMED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "flv")
"""Containers, by libav's names, in which every packet has its own time. In others times depend on the packets before: none to jump into."""


class CannotSeek(Exception):  # noqa: N818 (what holds of the file, not a mistake)
    """A video cannot be entered in its middle: decode it from its beginning. It says nothing against the video."""


def decode(uri: str, *, start: float | None = None, last: int | None = None, clock: Clock | None = None) -> Iterator[Frame]:
    """Decode the main video stream once: whole, or a stretch of it.

    Times are the file's own; what ``clock.py`` makes of missing ones, always ascends. A change of size in mid-stream is no error.

    Args:
        uri: A local path or a URI that pyarrow understands.
        start: Seconds on the container's clock: begin at a key frame shown at or before this time, the last one where the container finds
            it; the frames before ``start`` are the caller's to drop. None, or a time before the first frame: from the beginning.
        last: Stop after this many frames; nothing behind them is decoded.
        clock: Where to keep the clock of this pass, new for each: ``clock.mended`` says whether all times so far are the file's own.

    Yields:
        Frames, numbered without a gap from 1, which is the first frame of the video or the key frame at which the stretch begins.

    Raises:
        MissingError: there is no such file.
        StorageError: the file could not be read; it may be tried again.
        MemoryError: this process has no more.
        ItemError: not a video, no picture in it, or its content breaks in mid-stream; ``last_frame`` is the last good one, as numbered here.
        CannotSeek: ``start`` is behind the first frame, and no key frame at or before it can be found.

    Source: ours.
    """
    with opened(uri) as source:
        stream = _main_stream(source)
        clock, stamps, converter = clock or Clock(), _Stamps(source, stream), Converter()
        if rate := stream.guessed_rate or stream.average_rate:
            clock.step = float(1 / rate)
        pictures, number = _from(source, stream, stamps, start), 0
        while (last is None or number < last) and (picture := _next(source, pictures, number)) is not None:
            if source.lost:  # libav may have seen but a part of what this picture was made from
                break
            number += 1
            heartbeat(number)
            time, exact = stamps.of(picture)
            yield Frame(number, clock.time(time, exact=exact), picture, converter)
        if last is not None and number >= last:
            return
        source.check()
        if number == 0 and start is None:
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
        reason = "decoding broke off" if number else "no picture could be decoded"
        raise source.error(error, reason, number or None) from error


class _Stamps:
    """What a file says of its pictures' times."""

    def __init__(self, source: Source, stream: av.VideoStream) -> None:
        self.by_order = source.container.format.name == "avi" and stream.codec_context.has_b_frames
        """An AVI keeps no presentation times. Where pictures are shown in another order than that of their packets, libav makes them up, for
        some codecs by numbering packets; then the time at which a picture leaves the decoder is right, but for a delay."""
        self.delay: int | None = None
        self.trusted = True

    def of(self, picture: av.VideoFrame) -> tuple[float | None, bool]:
        """Seconds, and whether the file says just that; the decoding time where there is no presentation time (then they are the same)."""
        ticks, exact = (picture.dts, False) if picture.pts is None else (picture.pts, True)
        if self.by_order:
            if self.delay is None and None not in (picture.dts, picture.pts):
                self.delay = picture.dts - picture.pts  # the first packet is the first picture
            due = None if None in (picture.dts, self.delay) else picture.dts - self.delay
            self.trusted &= due in (None, picture.pts)
            if not self.trusted:
                ticks, exact = due, False
        return None if ticks is None else float(ticks * picture.time_base), exact


def _from(source: Source, stream: av.VideoStream, stamps: _Stamps, start: float | None) -> Iterator[av.VideoFrame]:
    """Pictures from a key frame at or before ``start``; all of them where that is None, or the first picture is not before it."""
    packets = source.packets(stream)
    opening = next(packets)
    pictures = _decoded(opening, packets)
    if start is None:
        yield from pictures
        return
    first = next(pictures, None)
    if first is None:
        return
    begin = stamps.of(first)[0]
    if begin is not None and begin >= start:
        yield from chain([first], pictures)
        return
    numbered = stamps.by_order and stream.codec_context.name in ("h264", "hevc")
    if begin is None or numbered or source.container.format.name not in _TIMED:
        raise CannotSeek("the file does not say of each picture when it is shown")
    earliest = 0.0 if opening.dts is None else float(opening.dts * opening.time_base)
    for lead in _LEADS:
        if (found := _sought(source, stream, max(min(start, _end(source)) - lead, earliest), start)) is not None:
            yield from found
            return
    source.check()  # where the connection broke, nothing is known of the file
    raise CannotSeek(f"no key frame at or before {start:.3f} s can be found")


def _decoded(packet: av.Packet, others: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
    return (picture for each in chain([packet], others) for picture in each.decode())


def _end(source: Source) -> float:
    """Seconds at which the header says that the file ends: only a hint of where to look."""
    begin, length = source.container.start_time, source.container.duration
    return float("inf") if length is None else ((begin or 0) + length) / av.time_base


def _sought(source: Source, stream: av.VideoStream, aim: float, start: float) -> Iterator[av.VideoFrame] | None:
    """Pictures from the key frame on to which a jump leads; None where there is none or it is shown after ``start``.

    Some containers lead to any packet: those before the key frame are not decoded, and pictures shown before it may lack what they refer to.
    """
    try:
        source.container.seek(round(aim / stream.time_base), stream=stream)
        packets = source.packets(stream)
        key = next((packet for packet in packets if packet.is_keyframe), None)
        shown = None if key is None else key.pts
        if shown is None or float(shown * stream.time_base) > start:
            return None
        pictures = _decoded(key, packets)
        first = next((picture for picture in pictures if picture.pts is not None and picture.pts >= shown), None)
    except (av.FFmpegError, OSError):
        return None
    if first is None or float(first.pts * first.time_base) > start:
        return None
    return chain([first], pictures)
