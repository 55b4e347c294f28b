"""Benchmark of ``abaw-ray analyze``: CPU time by part, start-up, memory, and Ray against a process pool.

python -m tools.bench.analyze --weights face_detection_yunet_2023mar.onnx --quick
python -m tools.bench.analyze --weights face_detection_yunet_2023mar.onnx --json tools/benchmarks/analyze-2026-01-31-box.json

Videos are synthetic (one generated face with its voice; H.264, libx264, preset medium, crf 23, 30 frames per second), models have random weights:
nothing is downloaded. At the end of a complete run it prints the rates of ``--plan`` as Python source.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from abaw_ray.core.errors import AbawError, ConfigError
from abaw_ray.core.progress import echo
from tools.bench.analyze.figures import errors, literal, rates, shares
from tools.bench.analyze.memory import analysis_memory, memory_figures
from tools.bench.analyze.plan import FPS, QUICK, Bench, Plan
from tools.bench.analyze.pool import PoolConfig, ray_over_pool
from tools.bench.analyze.shares import find_seconds, overlay_seconds, score_seconds
from tools.bench.analyze.start import start_up
from tools.bench.analyze.videos import SIZES, repeat_video
from tools.bench.table import JsonFile, Row, command_line, machine, measure_parts, metadata, report_error, show_rows, write_rows
from tools.bench.video.run import in_new_process

Part = Literal["video", "demo", "paper", "check", "overlay", "start", "memory", "pool"]
_SHARES = (
    ("decode_s", "decoding frames and sound"),
    ("faces_s", "detection, tracking, cropping"),
    ("encoder_s", "encoder"),
    ("speech_s", "speech model"),
    ("fusion_s", "fusion, smoothing, table"),
    ("write_s", "files: table, cache, page"),
    ("all_s", "all of it"),
)
_FIGURES: tuple[Row, ...] = (
    *((f"demo_{key}", ("demo", key), "", f"720p, model of the demo's sizes: CPU seconds per second of video: {text}") for key, text in _SHARES),
    *((f"paper_{key}", ("paper", key), "", f"720p, ViT-L/14 and Wav2Vec 2.0 base: CPU seconds per second of video: {text}") for key, text in _SHARES),
    ("find_over_decode_720p", ("video", "720p_ratio"), "<= 1.9", "CPU time of decoding and faces / of decoding alone, synthetic video of 720p"),
    ("start_over_imports_s", ("start", "over_imports_s"), "<= 4", "seconds of an analysis of a 2.4 s clip beyond the imports of its libraries"),
    ("start_s", ("start", "analyze_s"), "", "seconds of that analysis as a process"),
    ("memory_30min_over_1min", ("memory", "ratio"), "<= 1.3", "peak resident memory of parent and children: long video / short one"),
    ("memory_mb", ("memory", "long_sum"), "", "peak resident memory, MB, long video"),
    ("ray_over_pool", ("pool", "ratio"), ">= 0.92", "throughput of the job / of a process pool, without start and end"),
    ("ray_over_pool_with_start", ("pool", "ratio_with_start"), "", "the same with both"),
    ("error_frame", ("errors", "frame"), "", "error of the rates for frames of 360p, 720p or 1080p: the largest one"),
    ("error_encoder", ("errors", "encoder"), "", "error of the rates for ViT-S/14, fitted to the demo's encoder and to ViT-L/14"),
)
"""Key, its two keys in the raw figures, target (ours), description."""


def part_video(bench: Bench) -> dict:
    """Decoding and faces at three sizes."""
    figures = {}
    for size in SIZES:
        path = bench.main_video(bench.plan.seconds) if size == "720p" else bench.video(size, bench.plan.seconds)
        found = in_new_process(find_seconds, bench.faces("paper"), path, bench.plan.rounds)
        figures |= {f"{size}_{key}": value for key, value in found.items()}
    return figures


def part_model(bench: Bench, name: str, raw: dict) -> dict:
    """Networks and files with one model; after parts ``video`` and ``demo``, its shares.

    Fusion and files are those of the demo's model: with a large one too few rows are scored to measure them.
    """
    plan, is_demo = bench.plan, name == "demo"
    path = bench.main_video(plan.seconds) if is_demo else bench.video("720p", plan.large_seconds)
    fps, rounds = (0.0, plan.rounds) if is_demo else (plan.large_fps, plan.large_rounds)
    figures = in_new_process(score_seconds, bench.model(name), bench.faces(name), path, fps, rounds)
    find = {key.removeprefix("720p_"): value for key, value in raw.get("video", {}).items() if key.startswith("720p_")}
    if not find or not (is_demo or "demo" in raw):
        return figures
    rows = {key: (figures if is_demo else raw["demo"])[key] for key in ("fusion_ms", "write_ms")}
    return figures | shares(find, figures | rows, FPS, FPS)


def part_overlay(bench: Bench) -> dict:
    """Overlay videos."""
    return in_new_process(overlay_seconds, bench.model("demo"), bench.faces("demo"), bench.main_video(bench.plan.seconds), bench.plan.rounds)


def part_memory(bench: Bench) -> dict:
    """Memory with a long and a short video."""
    peaks = {}
    for name in ("short", "long"):
        video = repeat_video(bench.memory_clip(), bench.folder / f"memory-{name}.mp4", getattr(bench.plan, name))
        peaks[name] = analysis_memory(video, bench.model("demo"), bench.weights)
    return memory_figures(peaks["short"], peaks["long"])


def part_pool(bench: Bench) -> dict:
    """Throughput on Ray relative to a process pool."""
    plan, clip = bench.plan, bench.video("720p", bench.plan.pool_seconds)
    with tempfile.TemporaryDirectory(prefix="pool-", dir=bench.folder) as folder:
        work = PoolConfig(
            model=bench.model("demo"), weights=bench.weights, clip=clip, videos=plan.pool_videos, rounds=plan.pool_rounds, folder=Path(folder)
        )
        return in_new_process(ray_over_pool, work)


def parts_of(bench: Bench, raw: dict) -> dict[str, Callable[[], dict]]:
    """All parts by name."""
    return {
        "video": lambda: part_video(bench),
        "demo": lambda: part_model(bench, "demo", raw),
        "paper": lambda: part_model(bench, "paper", raw),
        "check": lambda: part_model(bench, "check", raw),
        "overlay": lambda: part_overlay(bench),
        "start": lambda: start_up(bench.start_clip(), bench.model("demo"), bench.weights, bench.plan.start_rounds),
        "memory": lambda: part_memory(bench),
        "pool": lambda: part_pool(bench),
    }


def main(
    weights: Path,
    quick: bool = False,
    clip: Path | None = None,
    json: JsonFile = None,
    only: tuple[Part, ...] = (),
) -> int:
    """Measure CPU time by part, start-up, memory and scheduling of an analysis.

    Args:
        weights: YuNet's weights.
        quick: Small sizes, three to four minutes on two cores; the figures are too noisy to keep.
        clip: A real clip of 1280x720 at 30 frames per second that shows one face, instead of the synthetic one.
        json: Output file of all figures.
        only: Parts to measure; default all.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    note = run_metadata(weights, quick, clip, only)
    try:
        if not weights.is_file():
            raise ConfigError(f"{weights}: there is no such file; give YuNet's weights")
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
            bench, raw = Bench(QUICK if quick else Plan(), weights.absolute(), clip and clip.absolute(), Path(folder)), {}
            measure_parts(parts_of(bench, raw), only, raw, lambda: json and write_rows(json, _FIGURES, note, raw))
        if raw.keys() >= {"video", "demo", "paper", "check", "overlay"}:
            found = rates(raw, source_of(note))
            raw |= {"errors": errors(raw, found), "rates": vars(found)}
            echo(literal(found))
            if json:
                write_rows(json, _FIGURES, note, raw)
        show_rows(_FIGURES, raw)
        if quick:
            echo("quick run: the figures are too noisy to keep")
    except AbawError as error:
        return report_error(error)
    return 0


def run_metadata(weights: Path, quick: bool, clip: Path | None, only: tuple[str, ...]) -> dict:
    """Return the command, with the last component of each path only, the machine and the versions of a run."""
    command = command_line("tools.bench.analyze", weights=weights, quick=quick, clip=clip, only=only)
    return {"command": command, "quick": quick, **metadata("torch", "timm", "transformers")}


def source_of(note: dict) -> str:
    """Date, machine and command of a run, as the plan names its rates."""
    return f"measured {note['date'][:10]} on {machine()['cpu']}, one core, by {note['command'].partition(' --weights')[0]}"
