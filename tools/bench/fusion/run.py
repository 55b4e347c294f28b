"""Speed and memory of Stage II's populations at the size of a real data set: ratios of alternatives that run in turn, in one run.

python -m tools.bench.fusion --stats affwild2_expr_stats.csv --json tools/benchmarks/fusion-2026-01-31-box.json

Features are random: the time does not depend on them. Subjects and counts are those of Train_Set in the file, times ``--scale``; an epoch has as many
fewer steps, which are otherwise those of the full size. Everything runs on one thread.
"""

import os
from pathlib import Path

import torch

from abaw_ray.core.errors import AbawError, ConfigError
from abaw_ray.core.progress import echo
from abaw_ray.fusion.config import SweepConfig
from tools.bench.fusion.data import WIDTHS, draw_folds, draw_frames, labelled_bytes, read_counts
from tools.bench.fusion.savings import measure_savings
from tools.bench.fusion.training import has_bf16, measure_gpu, measure_training, training_folds
from tools.bench.fusion.tune import measure_tune
from tools.bench.table import JsonFile, command_line, metadata, report_error, show_rows, write_rows

FIGURES = (
    ("alone", ("training", "alone"), ">= 1.6", "40 models, each by itself (one candidate, one fold) / the population of 8 x 5, float32"),
    ("alone_bf16", ("training", "alone_bf16"), ">= 2.2", "the same, float32 / the population with products in bfloat16"),
    ("candidate", ("training", "candidate"), "", "8 populations of one candidate (5 folds each) / the population"),
    ("plain", ("training", "plain"), "", "40 models, each in a plain PyTorch loop with torch.optim.AdamW / the population"),
    ("plain_bf16", ("training", "plain_bf16"), "", "the same, float32 / the population with products in bfloat16"),
    ("population_bf16", ("training", "population_bf16"), "", "the population in float32 / with products in bfloat16"),
    ("stacked", ("training", "stacked"), "", "the population with all members stacked, as on a GPU / fold by fold"),
    ("thinning", ("savings", "thinning"), "", "steps of an epoch with all labelled frames / with 5 per second, counted at full size"),
    ("halving", ("savings", "halving"), "", "training of 20 epochs without halving / with it"),
    ("memory", ("savings", "memory"), "<= 1", "peak memory of a trial, selection included / (labelled features + 20 bytes per parameter + 1 GB)"),
    ("memory_whole", ("savings", "memory_whole"), "<= 1", "the same without halving"),
    ("tune_share", ("tune", "share"), "<= 0.05", "time that Ray Tune adds to the trials of a default sweep, with its start / a sweep of 10 minutes"),
    ("gpu", ("gpu", "population"), ">= 40", "320 models, each by itself / the population of 64 x 5 on a GPU"),
)
"""Key, its two keys in the raw figures, target, description."""


def main(
    stats: Path,
    scale: float = 0.01,
    rounds: int = 3,
    quick: bool = False,
    json: JsonFile = None,
) -> int:
    """Measure populations of fusion models.

    Args:
        stats: CSV or JSON file with split, video, annotation_rows and labelled_rows for each subject.
        scale: Fraction of the frames of each subject.
        rounds: Turns of each way to train; their median counts.
        quick: Tiny vectors and few subjects, to test the benchmark itself.
        json: Output file of all figures.
    """
    try:
        if not 0 < scale <= 1 or rounds < 1:
            raise ConfigError(f"--scale {scale} must be above 0 and at most 1, --rounds {rounds} at least 1")
        raw, note = measure_all(stats, scale, rounds, quick)
        if json:
            write_rows(json, FIGURES, note, raw)
        show_rows(FIGURES, raw)
        if not has_bf16():
            echo("bf16: not measured, the CPU has no instructions for it")
        if not raw["gpu"]:
            echo("gpu: not measured, there is none")
    except AbawError as error:
        return report_error(error)
    return 0


def measure_all(stats: Path, scale: float, rounds: int, quick: bool) -> tuple[dict, dict]:
    """Return all raw figures, and the run's metadata."""
    torch.set_num_threads(1)
    counts = read_counts(stats)
    frames = draw_frames([one.scaled(scale) for one in counts], widths := (32, 16) if quick else WIDTHS)
    fold_of = draw_folds(frames)
    folds, number, epochs = training_folds(frames, fold_of), 2 if quick else 8, 4 if quick else 20
    note = {
        "command": command_line("tools.bench.fusion", stats=stats, scale=scale, rounds=rounds, quick=quick),
        "load_before": os.getloadavg()[0],
        "scale": scale,
        "frames": len(frames),
        "labelled": int((frames.labels >= 0).sum()),
        "labelled_mb": labelled_bytes(frames) / 2**20,
        **metadata("torch", "optuna"),
    }
    raw = {}
    for name, part in {
        "training": lambda: measure_training(frames, folds, number, rounds),
        "savings": lambda: measure_savings(stats, counts, scale, number, epochs, widths=widths),
        "tune": lambda: measure_tune(frames, fold_of, 1 if quick else SweepConfig().trials),
        "gpu": lambda: measure_gpu(frames, folds, 2 if quick else 64, rounds),
    }.items():
        echo(name)
        raw[name] = part()
    note["load_after"] = os.getloadavg()[0]
    return raw, note
