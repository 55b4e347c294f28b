"""The audio of a video -> a file with one AAC or MP3 stream for an MP4, its time 0 being the video's first frame.

Packets are copied where a browser plays them in sync: AAC or MP3 without a gap, a jump in time or damage. Other audio is encoded again as AAC, with
silence in its gaps: browsers play the samples of an MP4 one after another and do not wait at a gap. Nothing here depends on the video's frames,
so audio that cannot be decoded costs the sound only.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import Float32

from abaw_ray.core.errors import ItemError
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.media.audio import RATE, BlockClock, audio_frames, decode_audio, in_time_order, main_audio_stream
from abaw_ray.media.clock import to_seconds
from abaw_ray.media.source import Source, open_media
from abaw_ray.media.write import MP4_OPTIONS

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Samples per second at which audio is encoded as it is; audio of another rate is resampled to the last one."""
_AAC_PROFILES = ("LC", "HE-AAC", "HE-AACv2")
"""Profiles that browsers decode."""
_COPIED_CODECS = ("aac", "mp3", "mp3float")
_BIT_RATE_PER_CHANNEL = 80_000
"""Bits per second of AAC; libav's encoder is transparent for speech at about this rate. Ours."""
_SILENCE = 1 << 16
"""Samples of silence that are encoded at a time."""

Block = tuple[float, Float32[np.ndarray, "channels samples"]]
"""Time of the first sample in seconds, and samples."""


@dataclass(frozen=True)
class Sound:
    """What became of a video's audio."""

    kind: Literal["copied", "encoded", "none"]
    reason: str = ""
    """Why there is none; empty where there is."""


@dataclass
class _Scan:
    """What one pass over the audio finds."""

    segments: list[tuple[float, float]]
    """Segments without a jump in time: start and length in seconds."""
    format_changes: bool = False


def extract_sound(uri: str, path: Path, start: float, end: float | None = None) -> Sound:
    """Write the main audio stream, or a part of it.

    Args:
        uri: A local path or a URI that pyarrow understands.
        path: The file to write, an ``.m4a`` in an existing folder. There is none if the result is "none".
        start: Time of the video's first frame in seconds on the container's clock; earlier audio is left out.
        end: Time in seconds from which audio is left out, to the length of a block where it is copied; None for none.

    Raises:
        MissingError: there is no such file.
        StorageError: a remote file could not be read, or the disk is full; a retry may succeed.
        ItemError: not a media file.
    """
    with open_media(uri) as source:
        if not source.container.streams.audio:
            return Sound("none", "the video has no audio")
    try:
        with disk_full_to_storage_error():
            return _extract(uri, path, start, math.inf if end is None else end)
    except (FFmpegError, ItemError) as error:
        path.unlink(missing_ok=True)
        return Sound("none", f"its audio cannot be used ({' '.join(str(error).split())})")


def _extract(uri: str, path: Path, start: float, end: float) -> Sound:
    failures, scan, copied = _scan_and_copy(uri, path, start, end)
    if not any(at + length > start and at < end for at, length in scan.segments):
        path.unlink(missing_ok=True)
        return Sound("none", f"its audio cannot be decoded ({failures[0]})" if failures else "no audio while its frames are shown")
    if copied and not failures and len(scan.segments) == 1 and not scan.format_changes:
        return Sound("copied")
    kept = in_time_order(scan.segments)
    if kept == sorted(kept) and not scan.format_changes:
        _encode(path, _stream_blocks(uri, set(kept)), *_target(uri), start, end)
    else:
        _encode(path, _decoded_blocks(uri), RATE, "mono", start, end)
    return Sound("encoded")


def _scan_and_copy(uri: str, path: Path, start: float, end: float) -> tuple[deque, _Scan, bool]:
    """Decode the audio once, to find its gaps and damage, and copy its packets while that is possible; returns whether all were copied."""
    failures: deque = deque(maxlen=1)
    with open_media(uri) as source:
        stream = main_audio_stream(source)
        copy = _PacketCopy(stream, path, start, end) if _is_copyable(stream) else None
        try:
            scan = _scan(source, failures, copy and copy.add)
            source.check()
        finally:
            copied = copy is not None and copy.close()
    return failures, scan, copied


def _is_copyable(stream: av.AudioStream) -> bool:
    name = stream.codec_context.name
    return name in _COPIED_CODECS and (name != "aac" or stream.codec_context.profile in _AAC_PROFILES)


class _PacketCopy:
    """Copies packets to a file until one of them has no time or is refused by the container."""

    def __init__(self, stream: av.AudioStream, path: Path, start: float, end: float) -> None:
        self.container = av.open(str(path), "w", format="mp4", options=MP4_OPTIONS)
        self.target = self.container.add_stream_from_template(stream)
        self.start, self.end, self.rate, self.failed = Fraction(start), end, stream.codec_context.sample_rate, False

    def add(self, packet: av.Packet) -> None:
        """Copy a packet that overlaps the time from start to end; it may begin before the one, and end after the other."""
        if self.failed or packet.pts is None or packet.dts is None or packet.time_base is None:
            self.failed = True
            return
        if (packet.pts + (packet.duration or 0)) * packet.time_base <= self.start or packet.pts * packet.time_base >= self.end:
            return
        copy = av.Packet(bytes(packet))
        copy.time_base = Fraction(1, self.rate)  # that of an AVI is as long as a block, too coarse for the shift
        copy.pts, copy.dts = (round((ticks * packet.time_base - self.start) * self.rate) for ticks in (packet.pts, packet.dts))
        copy.duration = round((packet.duration or 0) * packet.time_base * self.rate)
        copy.stream, copy.is_keyframe = self.target, True
        try:
            self.container.mux(copy)
        except (FFmpegError, ValueError):
            self.failed = True

    def close(self) -> bool:
        """Complete the file; returns whether every packet was copied."""
        try:
            self.container.close()
        except (FFmpegError, ValueError):
            self.failed = True
        return not self.failed


def _scan(source: Source, failures: deque, on_packet: Callable[[av.Packet], None] | None) -> _Scan:
    scan, clock, previous_format = _Scan([]), BlockClock(), None
    for frame in audio_frames(source, failures, on_packet):
        length, audio_format = frame.samples / frame.sample_rate, (frame.format.name, frame.layout.name, frame.sample_rate)
        time, contiguous = clock.time(to_seconds(frame.pts, frame.time_base), length)
        if contiguous:
            scan.segments[-1] = (scan.segments[-1][0], scan.segments[-1][1] + length)
        else:
            scan.segments.append((time, length))
        scan.format_changes |= previous_format not in (None, audio_format)
        previous_format = audio_format
    return scan


def _target(uri: str) -> tuple[int, str]:
    """Sampling rate and layout of the encoded audio: those of the source, at most stereo."""
    with open_media(uri) as source:
        context = main_audio_stream(source).codec_context
        return context.sample_rate if context.sample_rate in _AAC_RATES else _AAC_RATES[-1], "mono" if context.layout.nb_channels == 1 else "stereo"


def _stream_blocks(uri: str, kept: set[int]) -> Callable[[int, str], Iterator[Block]]:
    """A function that decodes the audio again and gives the blocks of these segments at a sampling rate and layout."""

    def blocks(rate: int, layout: str) -> Iterator[Block]:
        with open_media(uri) as source:
            clock, index, resampler, at = BlockClock(), -1, None, 0.0
            for frame in audio_frames(source, deque(maxlen=1)):
                time, contiguous = clock.time(to_seconds(frame.pts, frame.time_base), frame.samples / frame.sample_rate)
                if resampler is None or not contiguous:
                    resampler, at, index = av.AudioResampler("fltp", layout, rate), time, index + 1
                for samples in [block.to_ndarray() for block in resampler.resample(frame)] if index in kept else []:
                    yield at, samples
                    at += samples.shape[1] / rate
            source.check()

    return blocks


def _decoded_blocks(uri: str) -> Callable[[int, str], Iterator[Block]]:
    """The same for audio with changes of its format or its clock: decoded as a whole, mono, which takes 230 MB per hour."""

    def blocks(rate: int, layout: str) -> Iterator[Block]:
        assert (rate, layout) == (RATE, "mono"), "decode_audio has one format"
        audio = decode_audio(uri)
        assert audio is not None, "called only where there is audio"
        for begin, end in audio.audible_spans().tolist():
            for at in range(begin, end, _SILENCE):
                yield audio.start + at / RATE, audio.samples[None, at : min(at + _SILENCE, end)]

    return blocks


def _encode(path: Path, blocks: Callable[[int, str], Iterator[Block]], rate: int, layout: str, start: float, end: float) -> None:
    """Encode blocks up to ``end`` at their times, counted from ``start``, with silence between them; where two overlap, the earlier one is kept."""
    with av.open(str(path), "w", format="mp4", options=MP4_OPTIONS) as container:
        stream = container.add_stream("aac", rate=rate, layout=layout)
        stream.codec_context.bit_rate = _BIT_RATE_PER_CHANNEL * (1 if layout == "mono" else 2)
        filled: int | None = None
        for time, block in blocks(rate, layout):
            if time >= end:
                break
            at = round((time - start) * rate)
            samples = block if end == math.inf else block[:, : max(round((end - time) * rate), 0)]
            filled = max(at, 0) if filled is None else filled
            for first in range(filled, at, _SILENCE):
                silence = np.zeros((len(samples), min(_SILENCE, at - first)), np.float32)
                container.mux(stream.encode(_frame(silence, first, rate, layout)))
            begin, filled = max(at, filled), max(at + samples.shape[1], filled)
            if at + samples.shape[1] > begin:
                container.mux(stream.encode(_frame(samples[:, begin - at :], begin, rate, layout)))
        container.mux(stream.encode(None))


def _frame(samples: np.ndarray, first: int, rate: int, layout: str) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, dtype=np.float32), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
    return frame
