"""The figures of a run of the video benchmark -> tables for people and a JSON file for comparisons. Nothing is measured here."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from abaw_ray.core.settings import to_plain
from abaw_ray.faces.config import FacesConfig
from tools.bench.table import rounded, stamp, told
from tools.bench.video.recall import SETTINGS


@dataclass(frozen=True)
class Figure:
    """One number of a run."""

    key: str
    place: tuple[str, ...]
    """Where it stands in the raw figures: the part, then names in it."""
    aim: str
    said: str
    """What it is, for people."""
    look: bool = False
    """Whether it is only a look with ``--quick``."""


FIGURES = (
    Figure("stage_over_decode_720p", ("stage", "720p", "ratio"), "<= 1.9", "the stage / decoding alone, CPU, 720p"),
    Figure("stage_over_decode_1080p", ("stage", "1080p", "ratio"), "<= 1.45", "the stage / decoding alone, CPU, 1080p"),
    Figure("recall_48px_1080p", ("recall", "recall"), ">= 0.9", "a face of 48 px at 1080p: share of frames in which it is found", True),
    Figure("late_48px_1080p_s", ("recall", "late_s"), "", "the same, coming in mid-video: seconds until it is found", True),
    Figure("naive_over_stage_720p", ("naive", "ratio"), ">= 5", "what one would write first / the stage, CPU, 720p"),
    Figure("ray_over_pool", ("pool", "ratio"), ">= 0.92", "throughput of the job / of a process pool, Ray's start aside", True),
    Figure("ray_over_pool_with_start", ("pool", "ratio_with_start"), "", "the same, Ray's start counted", True),
    Figure("memory_10min_over_1min", ("memory", "ratio"), "<= 1.1", "a worker's private memory: long video / short one", True),
    Figure("worker_private_mb", ("memory", "long", "sum"), "<= 700", "a worker's private memory, MB, long video", True),
    Figure("seconds_per_video_at_scale", ("scale", "seconds_per_video"), "<= 0.025", "seconds a video of the job itself, stand-in videos", True),
    Figure("driver_mb_at_scale", ("scale", "driver_mb"), "<= 1536", "the driver's memory at its peak, MB", True),
    Figure("rerun_seconds_at_scale", ("scale", "rerun_s"), "<= 30", "seconds of a rerun that finds everything done", True),
)
"""Aims are ours."""


def figures_of(raw: dict) -> dict[str, float | None]:
    """Every figure by its key; None where its part was not measured."""
    return {figure.key: _dig(raw, figure.place) for figure in FIGURES}


def _dig(raw: dict, place: tuple[str, ...]) -> float | None:
    here: Any = raw.get(place[0], {}).get("figures")
    for name in place[1:]:
        here = None if here is None else here.get(name)
    return here


def about(config: FacesConfig, clips: Path, weights: Path, quick: bool, only: tuple[str, ...]) -> dict:
    """What must be known of a run to compare it with another; paths by their last name alone."""
    return {
        "command": told("video", clips, weights, quick, only),
        "quick": quick,
        "only_a_look": [figure.key for figure in FIGURES if quick and figure.look],
        **stamp(),
        "encoding": "libx264, preset medium, crf 23, 30 frames/s, yuv420p, all else its defaults; one face, its box 30 % of the height",
        "settings": to_plain(replace(config, detector=replace(config.detector, weights=weights.name))),
    }


def write(path: Path, note: dict, raw: dict) -> None:
    """Write the JSON file: the figures, the curve, what the run was, and all raw figures."""
    body = figures_of(raw) | {"curve": raw.get("curve", {}).get("figures")} | note | {"raw": raw}
    path.write_text(json.dumps(rounded(body), indent=1) + "\n")


def show(figures: dict[str, float | None], raw: dict, quick: bool) -> None:
    """Print the tables."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table("figure", "value", "aim", "what it is")
    for figure in FIGURES:
        value = figures[figure.key]
        mark = "~" if quick and figure.look else ""
        table.add_row(figure.key, "-" if value is None else f"{mark}{value:.3g}", figure.aim, figure.said)
    console.print(table)
    if quick:
        console.print("~ only a look: too little was run for a figure that one could keep")
    for name, row in raw.get("stage", {}).get("figures", {}).items():
        spread = f"{min(row['ratios']):.2f} to {max(row['ratios']):.2f}, of the quickest {row['ratio_of_fastest']:.2f}"
        times = f"decoding {row['decode_ms']:.2f} ms a frame, the stage {row['stage_ms']:.2f}"
        console.print(f"{name}: {times}; ratio {row['ratio']:.2f} ({spread}), {row['frames']} frames at {row['mbit_s']:.1f} Mbit/s")
    if "curve" in raw:
        console.print(_curve(raw["curve"]["figures"]))


def _curve(rows: list[dict]) -> Table:
    """The rows of the curve; the first one has the settings as they are."""
    sizes = list(rows[0]["stage_ms"])
    table = Table(
        "search s", "follow s", "calm s", "window px", "width px", *(f"ms {size}" for size in sizes), *(f"/ decode {size}" for size in sizes)
    )
    for name in ("lost", "IoU interpolated", "newcomer s", "brief"):
        table.add_column(name)
    for row in rows:
        settings = [f"{row[name]:g}" for name in SETTINGS]
        costs = [f"{row[kind][size]:.2f}" for kind in ("stage_ms", "stage_over_decode") for size in sizes]
        finds = ["-" if row[name] is None else f"{row[name]:.2f}" for name in ("lost", "iou_interpolated", "newcomer_s", "brief")]
        table.add_row(*settings, *costs, *finds)
    return table
