"""Images, their times and audio -> a video file with exactly these presentation times: H.264 and AAC; in an AVI, MPEG-4 and PCM.

Used for synthetic data sets and to show results. The file is not written atomically; the caller renames it when it is complete.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from jaxtyping import Float, Float32, UInt8

from abaw_ray.media.audio import RATE

_TICKS = 90_000
"""Ticks per second of the video's clock: times are rounded to 1/90000 s (in an MKV to 1 ms)."""
MP4_OPTIONS = {"movie_timescale": "720000"}
"""Ticks per second of MP4's edit lists: a multiple of the rates of both clocks, otherwise start times are rounded to 1 ms."""
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
    """Encode one video; the file's extension selects the container (.mp4, .mov, .mkv, .avi). The same input gives the same frames.

    Args:
        path: The file; its folder must exist.
        frames: RGB images of one size with even sides, one for each time; may be a generator.
        times: Presentation times in seconds, 0 or more, ascending; the frame rate may vary. The clock of an AVI counts whole
            frames, so its times start at 0 and are multiples of one frame duration (frames may be missing).
        audio: Mono samples at 16 kHz in -1..1; None writes no audio stream.
        audio_start: Time in seconds of the first sample, 0 or more (AVI: 0), on the clock of ``times``.
        crf: Quality of x264: 18 is visually lossless, 23 is its default, 35 shows blocks; in an AVI, MPEG-4's quantizer is a sixth of it.
        preset: Speed of x264.

    Raises:
        ValueError: times do not ascend, are negative or do not fit the container, the size of the images is odd or changes, or there are
            more or fewer frames than times.

    Source: ours.
    """
    times, avi = np.asarray(times, dtype=np.float64), str(path).lower().endswith(".avi")
    if len(times) == 0 or times[0] < 0 or audio_start < 0 or (np.diff(times) <= 0).any():
        raise ValueError("times must be 0 s or more and ascend, and audio_start must be 0 s or more")
    base, ticks = _frame_ticks(times, audio_start) if avi else (Fraction(1, _TICKS), np.round(times * _TICKS).astype(np.int64))
    options = MP4_OPTIONS if str(path).lower().endswith((".mp4", ".mov")) else {}
    with av.open(str(path), "w", options=options) as container:
        video = _add_mpeg4(container, 1 / base, crf) if avi else add_h264(container, _mean_rate(times), crf, preset)
        video.pix_fmt, video.codec_context.time_base, video.codec_context.thread_count = "yuv420p", base, 1
        audio_stream = container.add_stream("pcm_s16le" if avi else "aac", rate=RATE, layout="mono") if audio is not None else None
        images = zip(_checked(frames, len(times)), ticks.tolist(), strict=True)
        _write(container, video, images, audio_stream, iter(()) if audio is None else _audio_frames(audio, audio_start))


def _write(
    container: OutputContainer,
    video: av.VideoStream,
    images: Iterable[tuple[np.ndarray, int]],
    audio: av.AudioStream | None,
    audio_frames: Iterator[tuple[Fraction, av.AudioFrame]],
) -> None:
    """Encode both streams interleaved by time, so that the muxer buffers little. Images have their ticks, audio frames their seconds."""
    base, pending = video.codec_context.time_base, next(audio_frames, None)
    for image, tick in images:
        if not video.codec_context.is_open:
            video.height, video.width = image.shape[:2]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = tick, base
        container.mux(video.encode(frame))
        while audio is not None and pending is not None and pending[0] <= tick * base:
            container.mux(audio.encode(pending[1]))
            pending = next(audio_frames, None)
    container.mux(video.encode(None))
    if audio is not None:
        for _, frame in [] if pending is None else [pending, *audio_frames]:
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


def add_h264(container: OutputContainer, rate: Fraction, crf: float, preset: str) -> av.VideoStream:
    """An H.264 stream without macroblock trees: with them x264 reads uninitialized memory, and the same images give different bytes each time."""
    return container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": preset, "mbtree": "0"})


def _add_mpeg4(container: OutputContainer, rate: Fraction, crf: float) -> av.VideoStream:
    """An MPEG-4 stream, the usual codec of AVIs: libav presents H.264 in an AVI one frame late, because an AVI stores no presentation times."""
    lambda_per_quantizer = 118
    quality = round(max(crf / 6, 1) * lambda_per_quantizer)
    return container.add_stream("mpeg4", rate=rate, options={"flags": "+qscale", "global_quality": str(quality)})


def _mean_rate(times: np.ndarray) -> Fraction:
    """Mean frame rate: a hint for the encoder and the header; the frames' times do not depend on it."""
    seconds = (times[-1] - times[0]) / max(len(times) - 1, 1)
    return Fraction(1 / seconds).limit_denominator(1001) if seconds > 0 else Fraction(25)


def _frame_ticks(times: np.ndarray, audio_start: float) -> tuple[Fraction, np.ndarray]:
    step = np.diff(times).min() if len(times) > 1 else 0.04
    base = 1 / Fraction(1 / step).limit_denominator(1001)
    ticks = np.round(times / float(base)).astype(np.int64)
    if times[0] > 0 or audio_start > 0 or np.abs(ticks * float(base) - times).max() > 1e-3:
        raise ValueError("an AVI starts at 0 s and has a constant rate: times must be multiples of one frame duration; write .mp4 or .mkv")
    return base, ticks


def _checked(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    number, shape = 0, None
    for number, image in enumerate(frames, 1):
        shape = shape or image.shape
        if image.shape != shape or shape[0] % 2 or shape[1] % 2 or image.dtype != np.uint8:
            raise ValueError(f"frame {number} is {image.dtype} of {image.shape}: uint8, even sides and one size are needed")
        if number > count:
            break
        yield image
    if number != count:
        raise ValueError(f"{count} times but {'more' if number > count else number} frames")


def _audio_frames(audio: np.ndarray, start: float) -> Iterator[tuple[Fraction, av.AudioFrame]]:
    first = round(start * RATE)
    for at in range(0, len(audio), _BLOCK):
        samples = np.ascontiguousarray(audio[at : at + _BLOCK], dtype=np.float32)[None]
        integers = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first + at, Fraction(1, RATE)
        yield Fraction(first + at, RATE), frame
