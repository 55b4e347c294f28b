"""Time of the smoothing grid at the size of a real data set: compiled loops on one and two threads, beside NumPy for some of the settings.

python -m tools.bench.smoothing --stats affwild2_expr_stats.csv --json tools/benchmarks/smoothing-2026-01-31-box.json

Scores are random: the time does not depend on them. The lengths and the numbers of labelled frames are those of the file; it has one row per
subject with the columns annotation_rows and labelled_rows. All alternatives run in turn, in one process.
"""

import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from abaw_ray.core.errors import AbawError
from abaw_ray.scoring.calibration import softmax
from abaw_ray.scoring.config import SmoothingConfig, SmoothingGridConfig, SmoothingKind
from abaw_ray.scoring.fill import fill_labels
from abaw_ray.scoring.fitting.grid import count_settings, labelled_frames
from abaw_ray.scoring.metrics import confusion_matrix
from abaw_ray.scoring.postprocessing import predict_labels
from abaw_ray.scoring.selection import OutOfFoldScores, select_postprocessing
from abaw_ray.scoring.smoothing import smooth
from tools.bench.smoothing.subjects import draw_subjects, gaussian_by_taps, read_counts
from tools.bench.table import JsonFile, command_line, metadata, report_error, show_rows, write_rows

_T = TypeVar("_T")
SAMPLE = (1.6, 3.4, 6.8)
"""Windows at which NumPy is measured, in seconds."""
FIGURES = (
    ("grid_2_threads_s", ("grid", "seconds_2"), "<= 12", "seconds of the whole grid on two threads, from logits to confusion matrices"),
    ("grid_1_thread_s", ("grid", "seconds_1"), "", "the same on one thread"),
    ("threads", ("grid", "speed_up"), "", "one thread / two threads"),
    ("mean", ("ratios", "mean"), "", "a mean in NumPy with arg-max and confusion matrix / compiled, one thread"),
    ("gaussian", ("ratios", "gaussian"), "", "a Gaussian in NumPy by sums of cosines, likewise / compiled, one thread"),
    ("gaussian_by_taps", ("ratios", "taps"), "", "a Gaussian in NumPy tap by tap, smoothing alone / compiled with counting, mean over the windows"),
    ("different_labels", ("ratios", "different_labels"), "0", "share of the labelled frames that NumPy and compiled loops count differently"),
    ("compile_s", ("grid", "compile_s"), "", "seconds of CPU time of the first call in a process: importing numba, compiling"),
    ("selection_s", ("selection", "seconds"), "", "seconds of the whole selection on two threads: temperatures, grids, biases"),
    ("selection_grids", ("selection", "temperatures"), "", "distinct temperatures in it, each with a grid"),
    ("peak_mb", ("selection", "peak_mb"), "", "memory of the process at most, with the scores"),
)
"""Key, its two keys in the raw figures, target (ours, for two cores), description."""


def timed(work: Callable[[], _T]) -> tuple[_T, float, float]:
    """Return the result of a call, and its wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def count_grid(subjects: list[OutOfFoldScores], grid: tuple[SmoothingConfig, ...], threads: int) -> np.ndarray:
    """Return the confusion matrices of all settings, summed over the subjects."""

    def one(subject: OutOfFoldScores) -> np.ndarray:
        probabilities = softmax(subject.logits.astype(np.float64))
        frames = labelled_frames(probabilities, subject.time, subject.scored, subject.labels, max_gap_s=grid[0].max_gap_s, default=0)
        return count_settings(frames, grid)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, sorted(subjects, key=lambda subject: -len(subject.time))), np.zeros((len(grid), 8, 8), np.int64))


def count_numpy(subjects: list[OutOfFoldScores], setting: SmoothingConfig) -> np.ndarray:
    """Return the confusion matrix of one setting, smoothed by NumPy."""
    total = np.zeros((8, 8), np.int64)
    for subject in subjects:
        smoothed = smooth(softmax(subject.logits.astype(np.float64)), subject.time, subject.scored, setting)
        total += confusion_matrix(subject.labels, fill_labels(predict_labels(smoothed), 0))
    return total


def smooth_by_taps(subjects: list[OutOfFoldScores], window_s: float) -> None:
    """Smooth all subjects with a Gaussian, tap by tap."""
    for subject in subjects:
        gaussian_by_taps(softmax(subject.logits.astype(np.float64)), subject.time, window_s)


def measure_grid(subjects: list[OutOfFoldScores], windows: int) -> dict:
    """Return the seconds of the whole grid, and those of the first call before it."""
    grid = SmoothingGridConfig(windows=windows).settings()
    compile_s = timed(lambda: count_grid(subjects[:1], grid[:2], 1))[2]
    two = timed(lambda: count_grid(subjects, grid, 2))[1]
    _, one, cpu = timed(lambda: count_grid(subjects, grid, 1))
    return {"settings": len(grid), "compile_s": compile_s, "seconds_1": one, "seconds_2": two, "speed_up": one / two, "cpu_s": cpu}


def measure_ratios(subjects: list[OutOfFoldScores]) -> dict:
    """Return CPU time of NumPy relative to compiled loops, over the sampled windows; both include the softmax, in NumPy once per window."""
    mean, gaussian = (_both(subjects, kind) for kind in ("mean", "gaussian"))
    taps = sum(timed(lambda window_s=window_s: smooth_by_taps(subjects, window_s))[2] for window_s in SAMPLE)
    labelled = sum(int((subject.labels >= 0).sum()) for subject in subjects)
    return {
        "mean": mean["numpy_s"] / mean["compiled_s"],
        "gaussian": gaussian["numpy_s"] / gaussian["compiled_s"],
        "taps": taps / gaussian["compiled_s"],
        "different_labels": (mean["different"] + gaussian["different"]) / (labelled * 2 * len(SAMPLE)),
        "seconds": {"mean": mean, "gaussian": gaussian, "taps": taps},
    }


def _both(subjects: list[OutOfFoldScores], kind: SmoothingKind) -> dict:
    """CPU seconds of compiled loops and of NumPy for one kind, and the number of frames that they count differently."""
    settings = tuple(SmoothingConfig(kind=kind, window_s=window_s) for window_s in SAMPLE)
    compiled, _, compiled_s = timed(lambda: count_grid(subjects, settings, 1))
    numpy, _, numpy_s = timed(lambda: np.array([count_numpy(subjects, one) for one in settings]))
    return {"compiled_s": compiled_s, "numpy_s": numpy_s, "different": int(np.abs(numpy - compiled).sum()) // 2}


def measure_selection(subjects: list[OutOfFoldScores], windows: int) -> dict:
    """Return seconds and memory of the whole selection with its default settings."""
    grid = SmoothingGridConfig(windows=windows).settings()
    found, wall, cpu = timed(lambda: select_postprocessing(subjects, grid, default=0, threads=2))
    temperatures = {*found.temperatures, found.postprocessing.calibration.temperature}
    return {
        "seconds": wall,
        "cpu_s": cpu,
        "temperatures": len(temperatures),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(stats: Path, quick: bool = False, json: JsonFile = None) -> int:
    """Measure the smoothing grid.

    Args:
        stats: CSV file with one row per subject and the columns annotation_rows and labelled_rows.
        quick: A few short subjects and windows, to test the benchmark itself.
        json: Output file of all figures.
    """
    try:
        counts = read_counts(stats)
        subjects = draw_subjects(sorted(counts)[:10] if quick else counts)
        windows = 4 if quick else 100
        note = {
            "command": command_line("tools.bench.smoothing", stats=stats, quick=quick),
            "load_before": os.getloadavg()[0],
            "frames": sum(len(subject.time) for subject in subjects),
            "labelled": sum(int((subject.labels >= 0).sum()) for subject in subjects),
            **metadata("numba", "llvmlite"),
        }
        raw = {"grid": measure_grid(subjects, windows), "ratios": measure_ratios(subjects), "selection": measure_selection(subjects, windows)}
        note["load_after"] = os.getloadavg()[0]
        if json:
            write_rows(json, FIGURES, note, raw)
        show_rows(FIGURES, raw)
    except AbawError as error:
        return report_error(error)
    return 0
