"""Pictures, their times and sound -> a video file with exactly the presentation times given: H.264 and AAC, in an AVI MPEG-4 and PCM.

Used to draw data sets and to show results. Where files are kept, and whether a half-written one may be seen, is the caller's matter.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float, Float32, UInt8

from abaw_ray.media.audio import RATE

_TICKS = 90_000
"""Ticks a second of the video's clock: times are kept to 1/90000 s (an MKV rounds them to 1 ms)."""
_MOVIE = 720_000
"""Ticks a second of MP4's edit lists: both clocks divide it, or starts would be rounded to 1 ms."""
_BLOCK = 1024
"""Samples of one AAC frame."""


def write_video(
    path: str | Path,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    times: Float[np.ndarray, " frames"],
    audio: Float32[np.ndarray, " samples"] | None,
    *,
    audio_start: float = 0.0,
    crf: float = 23,
    preset: str = "medium",
) -> None:
    """Encode one video; the container follows the file's extension (.mp4, .mov, .mkv, .avi). The same input gives the same pictures.

    Args:
        path: The file; its folder must exist.
        frames: RGB pictures of one size with even sides, one for each time; may be a generator, is read once.
        times: Presentation times in seconds, 0 or more, ascending; any rate, also a variable one. AVI has a clock of whole frames
            only: there they begin at 0 and are multiples of one frame duration (frames may be left out).
        audio: Mono samples at 16 kHz in -1..1; None writes no audio stream.
        audio_start: Time in seconds of the first sample, 0 or more (AVI: 0), on the clock of ``times``.
        crf: Quality of x264: 18 looks lossless, 23 is its default, 35 shows blocks; in an AVI a sixth of it is MPEG-4's quantiser.
        preset: Speed of x264.

    Raises:
        ValueError: times do not ascend, are negative or do not fit the container, a picture's size is odd or changes, or there are
            more or fewer frames than times.

    Source: ours.
    """
    times, avi = np.asarray(times, dtype=np.float64), str(path).lower().endswith(".avi")
    if len(times) == 0 or times[0] < 0 or audio_start < 0 or (np.diff(times) <= 0).any():
        raise ValueError("times must be 0 s or more and ascend, and audio_start must be 0 s or more")
    base, ticks = _frame_ticks(times, audio_start) if avi else (Fraction(1, _TICKS), np.round(times * _TICKS).astype(np.int64))
    options = {"movie_timescale": str(_MOVIE)} if str(path).lower().endswith((".mp4", ".mov")) else {}
    with av.open(str(path), "w", options=options) as container:
        video = _add_mpeg4(container, 1 / base, crf) if avi else _add_h264(container, _mean_rate(times), crf, preset)
        video.pix_fmt, video.codec_context.time_base, video.codec_context.thread_count = "yuv420p", base, 1
        sound = container.add_stream("pcm_s16le" if avi else "aac", rate=RATE, layout="mono") if audio is not None else None
        _write(container, video, zip(_checked(frames, len(times)), ticks.tolist(), strict=True), sound, _blocks(audio, audio_start))


def _write(
    container: av.container.OutputContainer,
    video: av.VideoStream,
    pictures: Iterable[tuple[np.ndarray, int]],
    sound: av.AudioStream | None,
    blocks: Iterator[av.AudioFrame],
) -> None:
    """Both streams in step, so that the muxer has little to hold."""
    waiting, base = next(blocks, None), video.codec_context.time_base
    for picture, tick in pictures:
        if not video.codec_context.is_open:
            video.height, video.width = picture.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts, frame.time_base = tick, base
        container.mux(video.encode(frame))
        while waiting is not None and waiting.pts * waiting.time_base <= tick * base:
            container.mux(sound.encode(waiting))
            waiting = next(blocks, None)
    container.mux(video.encode(None))
    for block in [] if waiting is None else [waiting, *blocks]:
        container.mux(sound.encode(block))
    if sound is not None:
        container.mux(sound.encode(None))


def _add_h264(container: av.container.OutputContainer, rate: Fraction, crf: float, preset: str) -> av.VideoStream:
    """Without macroblock trees: with them x264 reads memory that it never wrote, and the same pictures give other bytes each time."""
    return container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset, "mbtree": "0"})


def _add_mpeg4(container: av.container.OutputContainer, rate: Fraction, crf: float) -> av.VideoStream:
    """What AVIs usually hold; H.264 in an AVI is shown one frame late by libav, for an AVI keeps no presentation times."""
    lambda_per_quantiser = 118
    quality = round(max(crf / 6, 1) * lambda_per_quantiser)
    return container.add_stream("mpeg4", rate=rate, options={"flags": "+qscale", "global_quality": str(quality)})


def _mean_rate(times: np.ndarray) -> Fraction:
    """A hint for the encoder and the header; times never come from it."""
    seconds = (times[-1] - times[0]) / max(len(times) - 1, 1)
    return Fraction(1 / seconds).limit_denominator(1001) if seconds > 0 else Fraction(25)


def _frame_ticks(times: np.ndarray, audio_start: float) -> tuple[Fraction, np.ndarray]:
    step = np.diff(times).min() if len(times) > 1 else 0.04
    base = 1 / Fraction(1 / step).limit_denominator(1001)
    ticks = np.round(times / float(base)).astype(np.int64)
    if times[0] > 0 or audio_start > 0 or np.abs(ticks * float(base) - times).max() > 1e-3:
        raise ValueError("an AVI begins at 0 s and has one rate: times must be multiples of one frame duration; write .mp4 or .mkv")
    return base, ticks


def _checked(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    seen, size = 0, None
    for seen, picture in enumerate(frames, 1):
        size = size or picture.shape
        if picture.shape != size or size[0] % 2 or size[1] % 2 or picture.dtype != np.uint8:
            raise ValueError(f"frame {seen} is {picture.dtype} of {picture.shape}: uint8, even sides and one size are needed")
        if seen > count:
            break
        yield picture
    if seen != count:
        raise ValueError(f"{count} times but {'more' if seen > count else seen} frames")


def _blocks(audio: np.ndarray | None, start: float) -> Iterator[av.AudioFrame]:
    first = round(start * RATE)
    for at in range(0, 0 if audio is None else len(audio), _BLOCK):
        samples = np.ascontiguousarray(audio[at : at + _BLOCK], dtype=np.float32)[None]
        whole = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first + at, Fraction(1, RATE)
        yield frame
