"""The audio of a video -> 16 kHz mono samples on the clock of its frames; and a window of audio around each frame's time.

Audio may begin before or after the frames, end early, have gaps, be silent or be absent (``docs/data.md``). Missing audio is marked as
missing (``heard``), never passed on as zeros. ``features/speech.py`` turns samples into features.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import Bool, Float, Float32, Int64

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.media.clock import CLOCK_RESET, to_seconds
from abaw_ray.media.source import Source, open_media

RATE = 16_000
"""Samples per second: Wav2Vec 2.0 was trained at this rate."""
_TOLERANCE = 0.05
"""Seconds by which a block's timestamp may deviate before a new segment begins; ours, below the lag that is noticeable."""
_MAX_GAP = 6 * 3600
"""Seconds: audio beyond a longer gap is taken to have a wrong timestamp and is left out; a gap takes 230 MB per hour. Ours."""


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono audio on the video's clock."""

    samples: Float32[np.ndarray, " samples"]
    """At ``RATE``, -1..1; zero in gaps."""
    start: float
    """Time of the first sample in seconds on the container's clock, as the frames' times; may be before the first frame."""
    spans: Int64[np.ndarray, "spans 2"] | None = None
    """Where there is audio, as sample indices (first, one after the last), ascending; None: everywhere."""

    def audible_spans(self) -> Int64[np.ndarray, "spans 2"]:
        """``spans``, or one span of all samples where that is None."""
        return np.array([[0, len(self.samples)]]) if self.spans is None else self.spans


def decode_audio(uri: str) -> Audio | None:
    """Decode the whole main audio stream: 230 MB per hour.

    Each segment of contiguous blocks is resampled as one. If the timestamps jump by more than 50 ms, a new segment begins at its own time; if
    they go back by more than a second, the clock was reset and the segment continues, as the clock of the frames does. Blocks that cannot be
    decoded leave a gap.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Returns:
        The audio; None where the file has no audio stream. A stream without any block gives an ``Audio`` without samples.

    Raises:
        MissingError: there is no such file.
        StorageError: a remote file could not be read; a retry may succeed.
        ItemError: not a media file, or nothing of its audio can be decoded.

    Source: ours.
    """
    with open_media(uri) as source:
        if not source.container.streams.audio:
            return None
        failures = deque(maxlen=1)
        segments = [(start, np.frombuffer(samples, np.float32)) for start, samples in _segments(source, failures) if samples]
        source.check()
        if failures and not segments:
            raise source.error(failures[0], "its audio cannot be decoded") from failures[0]
    return _concatenate(segments)


def windows(
    audio: Audio, times: Float[np.ndarray, " frames"], *, width: float
) -> tuple[Float32[np.ndarray, "frames samples"], Bool[np.ndarray, " frames"]]:
    """Cut a window of audio around each time.

    Args:
        audio: The audio.
        times: Centers in seconds on the video's clock, in any order. The result has ``4 * RATE * width`` bytes per frame.
        width: Total width in seconds.

    Returns:
        The windows, ``round(width * RATE)`` samples each, sample ``n // 2`` being the one nearest the center, zeros where there is no
        audio; and whether there is any: False only for a window without a single sample. Silence counts as audio.

    Raises:
        ValueError: ``width`` is less than one sample.

    Source: ours, defined by ``slow_windows`` in the test.
    """
    count = round(width * RATE)
    if count < 1:
        raise ValueError(f"width must be at least one sample of 1/{RATE} s, got {width}")
    total = len(audio.samples)
    first = np.round((np.asarray(times, dtype=np.float64) - audio.start) * RATE).astype(np.int64) - count // 2
    first = np.clip(first, -count, total)  # a window farther outside has no audio either
    if len(first) == 0:
        return np.zeros((0, count), np.float32), np.zeros(0, bool)
    low, high = first.min(), first.max() + count
    covered = np.zeros(high - low, np.float32)
    begin, end = max(low, 0), max(min(high, total), 0)
    if end > begin:
        covered[begin - low : end - low] = audio.samples[begin:end]
    heard = np.zeros(len(first), bool)
    for begin, end in audio.audible_spans():
        heard |= (first < end) & (first + count > begin)
    return np.lib.stride_tricks.sliding_window_view(covered, count)[first - low], heard


def _concatenate(segments: list[tuple[float, np.ndarray]]) -> Audio:
    """Put segments at their times; where two overlap, the earlier one is kept."""
    if not segments:
        return Audio(np.zeros(0, np.float32), 0.0, np.zeros((0, 2), np.int64))
    if len(segments) == 1:  # the usual case; without a second copy of hours of audio
        ((start, samples),) = segments
        return Audio(samples, start, np.array([(0, len(samples))], np.int64))
    segments = [segments[index] for index in in_time_order([(time, len(segment) / RATE) for time, segment in segments])]
    start = segments[0][0]
    samples = np.zeros(max(round((time - start) * RATE) + len(segment) for time, segment in segments), np.float32)
    spans, filled = [], 0
    for time, segment in segments:
        at = round((time - start) * RATE)
        begin, end = max(at, filled), at + len(segment)
        if end > begin:
            samples[begin:end] = segment[begin - at :]
            spans.append((begin, end))
            filled = end
    return Audio(samples, start, np.array(spans, np.int64).reshape(-1, 2))


def in_time_order(segments: list[tuple[float, float]]) -> list[int]:
    """Indices of segments (start and length in seconds), ascending by start, without those beyond a gap of ``_MAX_GAP`` from the longest one."""
    order = sorted(range(len(segments)), key=lambda index: segments[index][0])
    longest = first = last = max(range(len(order)), key=lambda place: segments[order[place]][1])
    starts, ends = [segments[index][0] for index in order], [sum(segments[index]) for index in order]
    while first > 0 and starts[first] - ends[first - 1] <= _MAX_GAP:
        first -= 1
    while last + 1 < len(order) and starts[last + 1] - max(ends[longest : last + 1]) <= _MAX_GAP:
        last += 1
    return order[first : last + 1]


def _segments(source: Source, failures: deque) -> Iterator[tuple[float, bytearray]]:
    """Segments of audio without a jump in time: time of the first sample, and float32 samples at ``RATE`` (perhaps none)."""
    # a bytearray grows in place: joining a list of blocks would hold an hour of audio twice
    resampler, previous_format, start, clock, samples = None, None, 0.0, BlockClock(), bytearray()
    for frame in audio_frames(source, failures):
        audio_format = (frame.format.name, frame.layout.name, frame.sample_rate)
        time, contiguous = clock.time(to_seconds(frame.pts, frame.time_base), frame.samples / frame.sample_rate)
        if resampler is None or audio_format != previous_format or not contiguous:
            samples += _resample(resampler, None)
            yield start, samples
            resampler, previous_format, start, samples = av.AudioResampler("flt", "mono", RATE), audio_format, time, bytearray()
        try:
            samples += _resample(resampler, frame)
        except FFmpegError as error:  # a damaged header may state a hundred channels
            failures.append(error)
            yield start, samples
            resampler, samples = None, bytearray()
    samples += _resample(resampler, None)
    yield start, samples


class BlockClock:
    """The times of audio blocks, in the order in which they are decoded."""

    def __init__(self) -> None:
        self.due: float | None = None  # expected time of the next block
        self.due_before_jump: float | None = None  # the same at the last jump forward
        self.offset, self.previous_offset = 0.0, None  # added to timestamps; its value before the last block reset the clock

    def time(self, stated: float | None, length: float) -> tuple[float, bool]:
        """Time of a block of ``length`` seconds, and whether it is contiguous with the previous one."""
        due = self.due
        if due is None:
            time, contiguous = stated or 0.0, False
            due = time
        else:
            time = due if stated is None else self._place(stated, due)
            contiguous = abs(time - due) <= _TOLERANCE
            self.due_before_jump = self.due_before_jump if contiguous else due
        self.due = (due if contiguous else time) + length
        return time, contiguous

    def _place(self, stated: float, due: float) -> float:
        time, previous, self.previous_offset = stated + self.offset, self.previous_offset, None
        if previous is not None and abs(stated + previous - due) < abs(time - due):  # only the previous block had a wrong timestamp
            time, self.offset = stated + previous, previous
        elif due - time > CLOCK_RESET and (self.due_before_jump is None or abs(time - self.due_before_jump) > CLOCK_RESET):
            time, self.offset, self.previous_offset = due, self.offset + due - time, self.offset
        return time


def _resample(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> bytes:
    return b"" if resampler is None else b"".join(block.to_ndarray()[0].tobytes() for block in resampler.resample(frame))


def main_audio_stream(source: Source) -> av.AudioStream:
    """The audio stream that libav selects as best; the container must have one.

    Raises:
        ItemError: libav has no decoder for it.
    """
    best = source.container.streams.best("audio")
    stream = best if isinstance(best, av.AudioStream) else source.container.streams.audio[0]
    if stream.codec_context is None:
        raise ItemError("this build of libav has no decoder for its audio codec")
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    return stream


def audio_frames(source: Source, failures: deque, on_packet: Callable[[av.Packet], None] | None = None) -> Iterator[av.AudioFrame]:
    """Decoded blocks of the main audio stream, as coded; packets that cannot be decoded are skipped.

    Args:
        source: The open file.
        failures: The errors of these packets are appended to it.
        on_packet: Called with each packet that could be decoded.
    """
    count = 0
    for packet in _packets(source, main_audio_stream(source)):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            failures.append(error)
            continue
        if on_packet is not None and packet.size:
            on_packet(packet)
        for frame in frames:
            count += 1
            heartbeat(count)
            yield frame


def _packets(source: Source, stream: av.AudioStream) -> Iterator[av.Packet]:
    """Packets up to the end, or up to the first read error: a truncated file has audio up to there."""
    packets = source.packets(stream)
    while True:
        try:
            packet = next(packets, None)
        except (FFmpegError, OSError):
            packet = None
        if packet is None:
            return
        yield packet
