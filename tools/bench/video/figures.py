"""Figures of the video benchmark as tables and a JSON file."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from abaw_ray.core.settings import to_plain
from abaw_ray.faces.config import FacesConfig
from tools.bench.table import command_line, metadata, rounded
from tools.bench.video.recall import SETTINGS


@dataclass(frozen=True)
class Figure:
    """One figure of a run."""

    key: str
    place: tuple[str, ...]
    """Its keys in the raw figures: the part, then keys inside it."""
    target: str
    description: str
    approximate: bool = False
    """Whether ``--quick`` measures it with too little data to keep."""


FIGURES = (
    Figure("stage_over_decode_720p", ("stage", "720p", "ratio"), "<= 1.9", "CPU time of the stage / of decoding alone, 720p"),
    Figure("stage_over_decode_1080p", ("stage", "1080p", "ratio"), "<= 1.45", "CPU time of the stage / of decoding alone, 1080p"),
    Figure("recall_48px_1080p", ("recall", "recall"), ">= 0.9", "a face of 48 px at 1080p: share of frames in which it is detected", True),
    Figure("late_48px_1080p_s", ("recall", "late_s"), "", "the same, appearing in mid-video: seconds until it is detected", True),
    Figure("naive_over_stage_720p", ("naive", "ratio"), ">= 5", "CPU time of the naive implementation / of the stage, 720p"),
    Figure("ray_over_pool", ("pool", "ratio"), ">= 0.92", "throughput of the job / of a process pool, without Ray's start", True),
    Figure("ray_over_pool_with_start", ("pool", "ratio_with_start"), "", "the same with Ray's start", True),
    Figure("memory_10min_over_1min", ("memory", "ratio"), "<= 1.1", "a worker's private memory: long video / short one", True),
    Figure("worker_private_mb", ("memory", "long", "sum"), "<= 700", "a worker's private memory, MB, long video", True),
    Figure("seconds_per_video_at_scale", ("scale", "seconds_per_video"), "<= 0.025", "seconds per video of the job's overhead", True),
    Figure("driver_mb_at_scale", ("scale", "driver_mb"), "<= 1536", "peak memory of the driver, MB", True),
    Figure("rerun_seconds_at_scale", ("scale", "rerun_s"), "<= 30", "seconds of a rerun that finds all results", True),
)
"""Targets are ours."""


def figures_of(raw: dict) -> dict[str, float | None]:
    """Return every figure by its key; None if its part was not measured."""
    return {figure.key: _lookup(raw, figure.place) for figure in FIGURES}


def _lookup(raw: dict, place: tuple[str, ...]) -> float | None:
    value: Any = raw.get(place[0], {}).get("figures")
    for name in place[1:]:
        value = None if value is None else value.get(name)
    return value


def run_metadata(config: FacesConfig, clips: Path, weights: Path, quick: bool, only: tuple[str, ...]) -> dict:
    """Return the command, encoding, settings, machine and versions of a run; paths are reduced to their last component."""
    return {
        "command": command_line("tools.bench.video", clips=clips, weights=weights, quick=quick, only=only),
        "quick": quick,
        "approximate": [figure.key for figure in FIGURES if quick and figure.approximate],
        **metadata(),
        "encoding": "libx264, preset medium, crf 23, 30 frames/s, yuv420p, all else its defaults; one face, its box 30 % of the height",
        "settings": to_plain(replace(config, detector=replace(config.detector, weights=weights.name))),
    }


def write(path: Path, note: dict, raw: dict) -> None:
    """Write the JSON file: the figures, the curve, the run's metadata, and all raw figures."""
    content = figures_of(raw) | {"curve": raw.get("curve", {}).get("figures")} | note | {"raw": raw}
    path.write_text(json.dumps(rounded(content), indent=1) + "\n")


def show(figures: dict[str, float | None], raw: dict, quick: bool) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table("figure", "value", "target", "description")
    for figure in FIGURES:
        value = figures[figure.key]
        mark = "~" if quick and figure.approximate else ""
        table.add_row(figure.key, "-" if value is None else f"{mark}{value:.3g}", figure.target, figure.description)
    console.print(table)
    if quick:
        console.print("~ approximate: measured with too little data to keep")
    for name, row in raw.get("stage", {}).get("figures", {}).items():
        spread = f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}, ratio of the fastest {row['ratio_of_fastest']:.2f}"
        times = f"decoding {row['decode_ms']:.2f} ms per frame, stage {row['stage_ms']:.2f}"
        console.print(f"{name}: {times}; ratio {row['ratio']:.2f} ({spread}), {row['frames']} frames at {row['mbit_s']:.1f} Mbit/s")
    if "curve" in raw:
        console.print(_curve(raw["curve"]["figures"]))


def _curve(rows: list[dict]) -> Table:
    """Return the table of the curve; its first row has the default settings."""
    sizes = list(rows[0]["stage_ms"])
    table = Table(
        "search s", "follow s", "static s", "window px", "width px", *(f"ms {size}" for size in sizes), *(f"/ decode {size}" for size in sizes)
    )
    for name in ("lost", "IoU interpolated", "newcomer s", "brief"):
        table.add_column(name)
    for row in rows:
        settings = [f"{row[name]:g}" for name in SETTINGS]
        costs = [f"{row[kind][size]:.2f}" for kind in ("stage_ms", "stage_over_decode") for size in sizes]
        recalls = ["-" if row[name] is None else f"{row[name]:.2f}" for name in ("lost", "iou_interpolated", "newcomer_s", "brief")]
        table.add_row(*settings, *costs, *recalls)
    return table
