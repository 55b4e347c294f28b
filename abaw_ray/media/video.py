"""A video file -> its frames in order, each with its number and its own presentation time.

Audio is decoded by ``audio.py``; pixels are converted by ``frame.py``. The header's number of frames and frame rate are not used: both are
wrong in real files (``docs/data.md``). Each decoder has one thread: more do not add throughput per core (``docs/performance.md``).
"""

from collections.abc import Iterator
from itertools import chain

import av
from av.error import FFmpegError
from av.stream import Disposition

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.media.clock import Clock, to_seconds
from abaw_ray.media.frame import Converter, Frame
from abaw_ray.media.source import Source, open_media

_SEEK_MARGINS = (0.0, 0.25, 1.0, 4.0, 16.0, 64.0)
"""Seconds by which the target of a seek precedes the wanted time, one attempt each: containers seek by decoding times, some only roughly."""
_SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "flv")
"""libav's names of containers in which every packet has its own time. In others, times depend on earlier packets, so seeking is not supported."""


class SeekError(Exception):
    """Seeking is not possible in this video; decode it from its start. The video itself may be valid."""


def decode(uri: str, *, start: float | None = None, max_frames: int | None = None, clock: Clock | None = None) -> Iterator[Frame]:
    """Decode the main video stream once, as a whole or from a given time.

    Times are those of the file, made ascending by ``Clock``. A change of the frame size within the stream is not an error.

    Args:
        uri: A local path or a URI that pyarrow understands.
        start: Seconds on the container's clock: decoding starts at a key frame at or before this time, the last one if the container finds
            it; the caller drops the frames before ``start``. None, or a time before the first frame: from the start of the file.
        max_frames: Stop after this many frames; nothing after them is decoded.
        clock: A new clock for this pass; ``clock.repaired`` is then true if any time so far differs from the file's.

    Yields:
        Frames, numbered from 1 without gaps; 1 is the first frame of the video, or the key frame found for ``start``.

    Raises:
        MissingError: there is no such file.
        StorageError: the file could not be read; a retry may succeed.
        MemoryError: this process is short of memory.
        ItemError: not a video, no frame in it, or its content is damaged; ``last_frame`` is the last good frame, as numbered here.
        SeekError: ``start`` is after the first frame, and no key frame at or before it can be found.

    Source: ours.
    """
    with open_media(uri) as source:
        stream = _main_stream(source)
        clock, stamps, converter = clock or Clock(), _TimeStamps(source, stream), Converter()
        if rate := stream.guessed_rate or stream.average_rate:
            clock.step = float(1 / rate)
        frames, number = _frames_from(source, stream, stamps, start), 0
        while (max_frames is None or number < max_frames) and (frame := _next(source, frames, number)) is not None:
            if source.disconnected:  # this frame may have been decoded from incomplete data
                break
            number += 1
            heartbeat(number)
            time, exact = stamps.of(frame)
            yield Frame(number, clock.time(time, exact=exact), frame, converter)
        if max_frames is not None and number >= max_frames:
            return
        source.check()
        if number == 0 and start is None:
            raise ItemError("the file has a video stream, but no frame could be decoded from it")


def _main_stream(source: Source) -> av.VideoStream:
    """The stream that libav selects as best; attached cover images are excluded."""
    videos = [stream for stream in source.container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not videos:
        raise ItemError("the file has no video stream")
    best = source.container.streams.best("video")
    stream = best if isinstance(best, av.VideoStream) and best in videos else videos[0]
    if stream.codec_context is None:
        raise ItemError("this build of libav has no decoder for its video codec")
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def _next(source: Source, frames: Iterator[av.VideoFrame], number: int) -> av.VideoFrame | None:
    try:
        return next(frames, None)
    except (FFmpegError, OSError) as error:
        reason = "decoding stopped" if number else "no frame could be decoded"
        raise source.error(error, reason, number or None) from error


class _TimeStamps:
    """The presentation times that a file states for its frames."""

    def __init__(self, source: Source, stream: av.VideoStream) -> None:
        self.from_dts = source.container.format.name == "avi" and stream.codec_context.has_b_frames
        """An AVI stores no presentation times. If the order of frames differs from that of their packets, libav derives presentation times, for
        some codecs from packet numbers; then the decoding times are right, except for a constant delay."""
        self.delay: int | None = None
        self.trusted = True  # the presentation times of libav, while they agree with the decoding times

    def of(self, frame: av.VideoFrame) -> tuple[float | None, bool]:
        """Time in seconds, and whether the file states exactly this; the decoding time if there is no presentation time (then they are equal)."""
        ticks, exact = (frame.dts, False) if frame.pts is None else (frame.pts, True)
        if self.from_dts:
            if self.delay is None and frame.dts is not None and frame.pts is not None:
                self.delay = frame.dts - frame.pts  # the first packet is the first frame
            expected = None if frame.dts is None or self.delay is None else frame.dts - self.delay
            self.trusted &= expected in (None, frame.pts)
            if not self.trusted:
                ticks, exact = expected, False
        return to_seconds(ticks, frame.time_base), exact


def _frames_from(source: Source, stream: av.VideoStream, stamps: _TimeStamps, start: float | None) -> Iterator[av.VideoFrame]:
    """Frames from a key frame at or before ``start``; all frames where that is None, or where the first frame is not before it."""
    packets = source.packets(stream)
    first_packet = next(packets)
    frames = _decode_packets(first_packet, packets)
    if start is None:
        yield from frames
        return
    first = next(frames, None)
    if first is None:
        return
    begin = stamps.of(first)[0]
    if begin is not None and begin >= start:
        yield from chain([first], frames)
        return
    derived = stamps.from_dts and stream.codec_context.name in ("h264", "hevc")
    if begin is None or derived or source.container.format.name not in _SEEKABLE:
        raise SeekError("the file does not state the time of each frame")
    earliest = to_seconds(first_packet.dts, first_packet.time_base) or 0.0
    for margin in _SEEK_MARGINS:
        if (found := _seek(source, stream, max(min(start, _end(source)) - margin, earliest), start)) is not None:
            yield from found
            return
    source.check()  # after a broken connection, a failed seek proves nothing
    raise SeekError(f"no key frame at or before {start:.3f} s can be found")


def _decode_packets(first: av.Packet, others: Iterator[av.Packet]) -> Iterator[av.VideoFrame]:
    return (frame for packet in chain([first], others) for frame in packet.decode())


def _end(source: Source) -> float:
    """End of the file in seconds according to its header: only a hint for seeking."""
    begin, length = source.container.start_time, source.container.duration
    return float("inf") if length is None else ((begin or 0) + length) / av.time_base


def _seek(source: Source, stream: av.VideoStream, target: float, start: float) -> Iterator[av.VideoFrame] | None:
    """Frames from the key frame that a seek to ``target`` finds; None where there is none or it is presented after ``start``.

    Some containers seek to any packet. Packets before the key frame are skipped, and so are frames presented before it: they may refer to
    frames that were not decoded.
    """
    if stream.time_base is None:
        return None
    try:
        source.container.seek(round(target / stream.time_base), stream=stream)
        packets = source.packets(stream)
        key = next((packet for packet in packets if packet.is_keyframe), None)
        if key is None or key.pts is None or float(key.pts * stream.time_base) > start:
            return None
        key_pts = key.pts
        frames = _decode_packets(key, packets)
        first = next((frame for frame in frames if frame.pts is not None and frame.pts >= key_pts), None)
    except (FFmpegError, OSError):
        return None
    time = None if first is None else to_seconds(first.pts, first.time_base)
    if first is None or time is None or time > start:
        return None
    return chain([first], frames)
