"""The sound of a video -> 16 kHz mono samples on the clock of its pictures, and the window of sound around each frame's time.

Sound may begin before or after the pictures, end early, have holes, be silent or be absent (``DATA.md``): what is not there is said to be
not there (``heard``), never passed on as zeros. What the samples mean is ``features/speech.py``'s.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.media.clock import SET_BACK
from abaw_ray.media.source import Source, opened

RATE = 16_000
"""Samples a second: what Wav2Vec 2.0 was trained on."""
_SLACK = 0.05
"""Seconds by which a block may be off its stated time before it counts as moved; ours, below any audible lag."""
_HOLE = 6 * 3600
"""Seconds: sound that is said to come after a longer hole, which costs 230 MB an hour, has a wrong time and is left out; ours."""


@dataclass(frozen=True, eq=False)
class Audio:
    """Mono sound on the video's clock."""

    samples: Float32[np.ndarray, " samples"]
    """At ``RATE``, -1..1; zero in holes."""
    start: float
    """Time of the first sample in seconds on the container's clock, that of the frames' times; may be before the first frame."""
    spans: Int64[np.ndarray, "spans 2"] | None = None
    """Where there is sound, as sample numbers (first, after the last), ascending; None: everywhere."""

    def sounding(self) -> Int64[np.ndarray, "spans 2"]:
        """``spans``, stated in any case."""
        return np.array([[0, len(self.samples)]]) if self.spans is None else self.spans


def decode_audio(uri: str) -> Audio | None:
    """Decode the main sound stream whole: 230 MB for an hour.

    Each stretch of blocks that follow one another is resampled as one; where the file's times jump, by more than 50 ms, the next stretch
    is put at its own time; where they are set back by more than a second, it goes on, as the pictures' clock does. Blocks that cannot be
    decoded leave a hole.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Returns:
        The sound; None where the file has no sound stream. A stream without any block gives no samples.

    Raises:
        MissingError: there is no such file.
        StorageError: a remote file could not be read; it may be tried again.
        ItemError: not a media file, or it has sound of which nothing can be decoded.

    Source: ours.
    """
    with opened(uri) as source:
        if not source.container.streams.audio:
            return None
        failures = deque(maxlen=1)
        pieces = [(start, np.concatenate(blocks)) for start, blocks in _pieces(source, failures) if blocks]
        source.check()
        if failures and not pieces:
            raise source.error(failures[0], "its sound cannot be decoded") from failures[0]
    return _joined(pieces)


def windows(
    audio: Audio, times: Float[np.ndarray, " frames"], *, width: float
) -> tuple[Float32[np.ndarray, "frames samples"], Bool[np.ndarray, " frames"]]:
    """Cut a window of sound around each time.

    Args:
        audio: The sound.
        times: Centres in seconds on the video's clock, in any order. The result is ``4 * RATE * width`` bytes a frame: call it by chunks.
        width: Whole width in seconds.

    Returns:
        The windows, ``round(width * RATE)`` samples each, sample ``n // 2`` being the one nearest the centre, zeros where there is no
        sound; and whether there is any: False only for a window of which no sample exists. Silence counts as sound.

    Raises:
        ValueError: ``width`` holds no sample.

    Source: ours, defined by ``slow_windows`` in the test.
    """
    count = round(width * RATE)
    if count < 1:
        raise ValueError(f"width must be at least one sample of 1/{RATE} s, got {width}")
    total = len(audio.samples)
    first = np.round((np.asarray(times, dtype=np.float64) - audio.start) * RATE).astype(np.int64) - count // 2
    first = np.clip(first, -count, total)  # wholly outside is wholly outside
    if len(first) == 0:
        return np.zeros((0, count), np.float32), np.zeros(0, bool)
    low, high = first.min(), first.max() + count
    stretch = np.zeros(high - low, np.float32)
    begin, end = max(low, 0), max(min(high, total), 0)
    if end > begin:
        stretch[begin - low : end - low] = audio.samples[begin:end]
    heard = np.zeros(len(first), bool)
    for begin, end in audio.sounding():
        heard |= (first < end) & (first + count > begin)
    return np.lib.stride_tricks.sliding_window_view(stretch, count)[first - low], heard


def _joined(pieces: list[tuple[float, np.ndarray]]) -> Audio:
    """Put stretches at their times; where two overlap, the earlier one stays."""
    if not pieces:
        return Audio(np.zeros(0, np.float32), 0.0, np.zeros((0, 2), np.int64))
    pieces = _together(pieces)
    start = pieces[0][0]
    samples = np.zeros(max(round((time - start) * RATE) + len(piece) for time, piece in pieces), np.float32)
    spans, filled = [], 0
    for time, piece in pieces:
        at = round((time - start) * RATE)
        begin, end = max(at, filled), at + len(piece)
        if end > begin:
            samples[begin:end] = piece[begin - at :]
            spans.append((begin, end))
            filled = end
    return Audio(samples, start, np.array(spans, np.int64).reshape(-1, 2))


def _together(pieces: list[tuple[float, np.ndarray]]) -> list[tuple[float, np.ndarray]]:
    """In order of time, without what is far from the longest stretch and from all near it."""
    pieces = sorted(pieces, key=lambda piece: piece[0])
    longest = first = last = max(range(len(pieces)), key=lambda number: len(pieces[number][1]))
    ends = [time + len(piece) / RATE for time, piece in pieces]
    while first > 0 and pieces[first][0] - ends[first - 1] <= _HOLE:
        first -= 1
    while last + 1 < len(pieces) and pieces[last + 1][0] - max(ends[longest : last + 1]) <= _HOLE:
        last += 1
    return pieces[first : last + 1]


def _pieces(source: Source, failures: deque) -> Iterator[tuple[float, list[np.ndarray]]]:
    """Stretches of sound that follow one another without a jump: time of the first sample, and blocks at ``RATE``, perhaps none."""
    resampler, kind, start, course, blocks = None, None, 0.0, _Course(), []
    for frame in _frames(source, failures):
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        time, follows = course.take(None if frame.pts is None else float(frame.pts * frame.time_base), frame.samples / frame.sample_rate)
        if resampler is None or now != kind or not follows:
            yield start, blocks + _resampled(resampler, None)
            resampler, kind, start, blocks = av.AudioResampler("flt", "mono", RATE), now, time, []
        try:
            blocks += _resampled(resampler, frame)
        except av.FFmpegError as error:  # damage may state a hundred channels
            failures.append(error)
            yield start, blocks
            resampler, blocks = None, []
    yield start, blocks + _resampled(resampler, None)


class _Course:
    """The times of blocks, in the order in which they come."""

    def __init__(self) -> None:
        self.due, self.before = None, None  # where the next block is due; where it was, when the last jump ahead came
        self.shift, self.former = 0.0, None  # added to the file's times; what was added before the last block set them back

    def take(self, stated: float | None, length: float) -> tuple[float, bool]:
        """Time of a block of this many seconds, and whether it follows the one before."""
        if self.due is None:
            time, follows = stated or 0.0, False
        else:
            time = self.due if stated is None else self._placed(stated)
            follows = abs(time - self.due) <= _SLACK
            self.before = self.before if follows else self.due
        self.due = (self.due if follows else time) + length
        return time, follows

    def _placed(self, stated: float) -> float:
        time, former, self.former = stated + self.shift, self.former, None
        if former is not None and abs(stated + former - self.due) < abs(time - self.due):  # the one before was a single wrong one
            time, self.shift = stated + former, former
        elif self.due - time > SET_BACK and (self.before is None or abs(time - self.before) > SET_BACK):
            time, self.shift, self.former = self.due, self.shift + self.due - time, self.shift
        return time


def _resampled(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> list[np.ndarray]:
    return [] if resampler is None else [block.to_ndarray()[0] for block in resampler.resample(frame)]


def _frames(source: Source, failures: deque) -> Iterator[av.AudioFrame]:
    """Decoded blocks; a packet that cannot be decoded gives none."""
    stream = source.container.streams.best("audio") or source.container.streams.audio[0]
    if stream.codec_context is None:
        raise ItemError("its sound is coded in a way that this build of libav cannot decode")
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    good = 0
    for packet in _packets(source, stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            failures.append(error)
            continue
        for frame in frames:
            good += 1
            heartbeat(good)
            yield frame


def _packets(source: Source, stream: av.AudioStream) -> Iterator[av.Packet]:
    """Packets to the end of what can be read: a file cut short has sound up to there."""
    packets = source.packets(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None
        if packet is None:
            return
        yield packet
