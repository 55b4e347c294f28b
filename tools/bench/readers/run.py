"""Threads and processes as readers of Stage I's training images: JPEG decoding, crop, degradation.

python -m tools.bench.readers --json tools/benchmarks/readers-2026-01-31-machine.json

Images are synthetic and nothing is downloaded. All kinds of readers run in turn in every round; ratios are medians over the rounds.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from abaw_ray.core.errors import AbawError
from abaw_ray.encoder.images import open_image_set
from tools.bench.gpu.training import SHARDS, write_images
from tools.bench.gpu.work import Work
from tools.bench.readers.measure import Processes, Readers, milliseconds_of_a_view, threads
from tools.bench.table import JsonFile, command_line, measure_parts, metadata, report_error, show_rows, write_rows

_KEYS = {
    "threads_2_over_1": "views per second of two threads / of one",
    "processes_2_over_1": "views per second of two processes / of one, pixels sent to the training process",
    "processes_over_threads_2": "two processes, pixels sent / two threads",
    "processes_bound_over_threads_2": "two processes, pixels dropped / two threads: a limit for any way of sending them",
    "outside_opencv": "share of a view's time outside of OpenCV: the most for which it can hold Python's global lock",
    "view_ms": "milliseconds of a view in one thread",
}
FIGURES = tuple((key, ("readers", key), "", text) for key, text in _KEYS.items())
"""Key, its two keys in the raw figures, target, description."""


def main(json: JsonFile = None, quick: bool = False) -> int:
    """Measure the readers of training images.

    Args:
        json: Output file of all figures.
        quick: Few views and one round, to test the benchmark itself.
    """
    raw: dict = {}
    try:
        with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
            images = 64 if quick else 1024
            storage = write_images(Work(folder=Path(folder), cpus=2, images=images))
            steps, views, rounds = (1, 4, 1) if quick else (12, 32, 9)
            work = Readers(images=open_image_set(storage, SHARDS, Path(folder)).path, steps=steps, views=views)
            note = {"command": command_line("tools.bench.readers", quick=quick), **metadata("torch", "timm"), "quick": quick}
            measure_parts({"readers": lambda: measure(work, rounds)}, (), raw, lambda: json and write_rows(json, FIGURES, note, raw))
        show_rows(FIGURES, raw)
    except AbawError as error:
        return report_error(error)
    return 0


def measure(work: Readers, rounds: int) -> dict:
    """Measure all kinds of readers in turn, so that every round has the same load of the machine; returns medians of the ratios within a round."""
    one, two = Processes(work, 1), Processes(work, 2)
    kinds: dict[str, Callable[[], float]] = {
        "threads_1": lambda: threads(work, 1),
        "processes_1": lambda: one.rate(transfer=True),
        "threads_2": lambda: threads(work, 2),
        "processes_2": lambda: two.rate(transfer=True),
        "processes_2_bound": lambda: two.rate(transfer=False),
    }
    rates, views = [], []
    for _ in range(rounds):
        rates.append({kind: run() for kind, run in kinds.items()})
        views.append(milliseconds_of_a_view(work))
    one.close()
    two.close()

    def ratio(over: str, under: str) -> float:
        return statistics.median(each[over] / each[under] for each in rates)

    return {
        "threads_2_over_1": ratio("threads_2", "threads_1"),
        "processes_2_over_1": ratio("processes_2", "processes_1"),
        "processes_over_threads_2": ratio("processes_2", "threads_2"),
        "processes_bound_over_threads_2": ratio("processes_2_bound", "threads_2"),
        "outside_opencv": statistics.median(each["outside_opencv_ms"] / each["view_ms"] for each in views),
        "view_ms": statistics.median(each["view_ms"] for each in views),
        "views_per_second_by_round": rates,
        "view_by_round": views,
    }
