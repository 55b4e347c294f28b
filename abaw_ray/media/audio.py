"""The sound of a video -> 16 kHz mono samples on the clock of its pictures, and the window of sound around each frame's time.

Sound may begin before or after the pictures, end early, have holes, be silent or be absent (``DATA.md``): what is not there is said to be
not there (``heard``), never passed on as zeros. What the samples mean is ``features/speech.py``'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from abaw_ray.core.errors import ItemError
from abaw_ray.media.source import Source, opened

RATE = 16_000
"""Samples a second: what Wav2Vec 2.0 was trained on."""
_SLACK = 0.05
"""Seconds by which a block may be off its stated time before it counts as moved; ours, below any audible lag."""


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
    is put at its own time. Blocks that cannot be decoded leave a hole.

    Args:
        uri: A local path or a URI that pyarrow understands.

    Returns:
        The sound; None where the file has no sound stream. A stream without any block gives no samples.

    Raises:
        DataError: there is no such file.
        StorageError: a remote file could not be read; it may be tried again.
        ItemError: not a media file, or it has sound of which nothing can be decoded.

    Source: ours.
    """
    with opened(uri) as source:
        if not source.container.streams.audio:
            return None
        pieces = [(start, np.concatenate(blocks)) for start, blocks in _pieces(source) if blocks]
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
    start, spans, parts, filled = pieces[0][0], [], [], 0
    for time, samples in pieces:
        at = max(round((time - start) * RATE), filled)
        late = at - round((time - start) * RATE)
        kept = samples[late:]
        if len(kept):
            parts += [np.zeros(at - filled, np.float32), kept]
            spans.append((at, at + len(kept)))
            filled = at + len(kept)
    return Audio(np.concatenate(parts), start, np.array(spans, np.int64).reshape(-1, 2))


def _pieces(source: Source) -> Iterator[tuple[float, list[np.ndarray]]]:
    """Stretches of sound that follow one another without a jump: time of the first sample, and blocks at ``RATE``."""
    resampler, kind, start, due, blocks = None, None, 0.0, 0.0, []
    for frame in _frames(source):
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        time = due if frame.pts is None else float(frame.pts * frame.time_base)
        if resampler is None or now != kind or abs(time - due) > _SLACK:
            if resampler is not None:
                yield start, blocks + _resampled(resampler, None)
            resampler, kind, start, due, blocks = av.AudioResampler("flt", "mono", RATE), now, time, time, []
        due += frame.samples / frame.sample_rate
        blocks += _resampled(resampler, frame)
    if resampler is not None:
        yield start, blocks + _resampled(resampler, None)


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[np.ndarray]:
    return [block.to_ndarray()[0] for block in resampler.resample(frame)]


def _frames(source: Source) -> Iterator[av.AudioFrame]:
    """Decoded blocks; a packet that cannot be decoded gives none."""
    stream = source.container.streams.best("audio") or source.container.streams.audio[0]
    if stream.codec_context is None:
        raise ItemError("its sound is coded in a way that this build of libav cannot decode")
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    good, broken = 0, None
    for packet in _packets(source, stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            broken, frames = error, []
        good += len(frames)
        yield from frames
    if broken is not None and not good:
        raise source.error(broken, "its sound cannot be decoded") from broken


def _packets(source: Source, stream: av.AudioStream) -> Iterator[av.Packet]:
    """Packets to the end of what can be read: a file cut short has sound up to there."""
    packets = source.container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            packet = None
        if source.lost:
            raise source.error(EOFError("the connection was lost"), "reading its sound broke off")
        if packet is None:
            return
        yield packet
