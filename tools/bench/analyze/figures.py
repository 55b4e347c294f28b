"""Raw figures -> shares per second of video, and the rates that ``abaw-ray analyze --plan`` multiplies."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from abaw_ray.predict.estimate.rates import Rates
from tools.bench.analyze.shares import line_through
from tools.bench.analyze.videos import SIZES

Raw = Mapping[str, Mapping[str, float]]
"""Part -> key -> value."""


def shares(find: Mapping[str, float], score: Mapping[str, float], fps: float, scored_fps: float) -> dict[str, float]:
    """CPU seconds of one worker per second of video, by part and in all, with one face in every frame.

    Args:
        find: Figures of ``find_seconds``.
        score: Figures of ``score_seconds``.
        fps: Frames per second of the video.
        scored_fps: Frames per second that are scored.
    """
    parts = {
        "decode_s": (find["decode_ms"] * fps + find["sound_ms"]) / 1e3,
        "faces_s": (find["find_ms"] - find["decode_ms"]) * fps / 1e3,
        "encoder_s": score["face_ms"] * scored_fps / 1e3,
        "speech_s": score["speech_ms"] / 1e3,
        "fusion_s": score["fusion_ms"] * scored_fps / 1e3,
        "write_s": score["write_ms"] * scored_fps / 1e3,
    }
    return parts | {"all_s": sum(parts.values())}


def fitted_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Value at 0 and slope of the line with the least squared relative errors; the value at 0 is not below 0."""
    x, y = np.array(points).T
    (slope, start), through_zero = np.polyfit(x, y, 1, w=1 / y), float((x / y).sum() / ((x / y) ** 2).sum())
    return (float(start), float(slope)) if start >= 0 else (0.0, through_zero)


def rates(raw: Raw, source: str) -> Rates:
    """The rates of a complete run.

    Args:
        raw: Its parts ``video``, ``demo``, ``paper`` and ``overlay``.
        source: Date, machine and command.
    """
    video, demo, paper = raw["video"], raw["demo"], raw["paper"]
    frame_ms, megapixel_ms = fitted_line([(video[f"{size}_megapixels"], video[f"{size}_find_ms"]) for size in SIZES])
    image_ms, gflop_ms = line_through(*((one["image_gflop"], one["face_ms"] / one["images"]) for one in (demo, paper)))
    speech_ms, speech_gflop_ms = line_through(*((one["speech_gflop"], one["speech_ms"]) for one in (demo, paper)))
    return Rates(
        source=source,
        frame_ms=frame_ms,
        megapixel_ms=megapixel_ms,
        sound_ms=sum(video[f"{size}_sound_ms"] for size in SIZES) / len(SIZES),  # differences of two runs: one alone may be 0
        image_ms=image_ms,
        gflop_ms=gflop_ms,
        speech_ms=speech_ms,
        speech_gflop_ms=speech_gflop_ms,
        row_ms=demo["fusion_ms"] + demo["write_ms"],
        encode_ms=raw["overlay"]["encode_ms"],
        csv_bytes=demo["csv_bytes"],
        parquet_bytes=demo["parquet_bytes"],
        parquet_base_bytes=paper["parquet_base_bytes"],  # a larger picture of the person
        page_bytes=demo["html_bytes"],
        page_base_bytes=demo["html_base_bytes"],
        encoded_bytes=raw["overlay"]["bytes"],
        chip_bytes=video["720p_chip_bytes"],
    )


def errors(raw: Raw, found: Rates) -> dict[str, float]:
    """Relative errors of the rates: ``frame`` (largest of the three sizes), ``encoder`` (of part ``check``, to which they are not fitted)."""
    video, check = raw["video"], raw["check"]
    frames = [(found.frame_ms + found.megapixel_ms * video[f"{size}_megapixels"]) / video[f"{size}_find_ms"] - 1 for size in SIZES]
    face_ms = check["images"] * (found.image_ms + found.gflop_ms * check["image_gflop"])
    return {"frame": max(frames, key=abs), "encoder": face_ms / check["face_ms"] - 1}


def literal(found: Rates) -> str:
    """The rates as Python source for ``abaw_ray/predict/estimate/measured.py``."""
    values: dict[str, Any] = vars(found)
    lines = [f"    {name}={value if isinstance(value, str) else float(f'{value:.3g}')!r}," for name, value in values.items() if name != "source"]
    return "\n".join(["CPU = Rates(", f'    source="{found.source}",', *lines, ")"])
