"""Overhead of the engine by number of items, measured by a stage whose items only write a Parquet file of one row.

Each number is measured in a process of its own, so that the peak of the driver's memory is that of this number.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from abaw_ray.cluster.engine.items import run_items
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.workers.rounds import Chain
from abaw_ray.cluster.engine.workers.worker import Operator, Work
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import StageError
from abaw_ray.core.progress import redirect_library_output
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig

_WORKERS = Resources(workers=2, memory_gb=0.1)
_ADDED = 50
"""Items that are added to the finished ones."""
_REPEATS = 5
"""Runs of the finished stage, with and without its index: the shortest takes a sixth of a second, so that other work would decide a single one."""


def many_items(counts: tuple[int, ...], folder: Path) -> dict[str, Any]:
    """Measure each number of items in a new process.

    Returns:
        Of the largest number: ``start_s``, seconds until the first output is written; ``all_s``, of the whole stage; ``items_per_s``; ``added_s``, of
        50 more; ``done_s``, of the finished stage again; ``lost_index_s``, of it without index and record; the last two are medians of five.
        ``driver_gb``: peak memory of the driver in 10^9 bytes.
        ``growth`` is the largest ratio of a figure's growth to that of the number, from the smallest to the largest: at most 1 is linear.
        ``by_count`` has all figures.

    Raises:
        StageError: a measurement failed.
    """
    measured = {count: _in_new_process(count, folder / str(count)) for count in counts}
    few, many = min(counts), max(counts)
    growth = max(measured[many][name] / measured[few][name] for name in measured[many] if name != "items_per_s") / (many / few)
    return measured[many] | {"growth": growth, "by_count": {str(count): row for count, row in measured.items()}}


def _in_new_process(count: int, folder: Path) -> dict[str, float]:
    folder.mkdir(parents=True)
    done = subprocess.run([sys.executable, "-m", __name__, str(count), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise StageError(f"{count} items: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(count: int, folder: Path) -> dict[str, float]:
    """The figures for one number of items. Workers are started, and Ray's first tasks run, before the first measurement."""
    config = RunConfig(storage=StorageConfig(uri=str(folder / "items")))
    with redirect_library_output(folder / "ray.log"), RaySession(config.compute, config.storage) as session:
        run = Run(config, session)
        _run_stage(run, "warm-up", 10)
        begun = time.time()
        seconds = _seconds(lambda: _run_stage(run, "items", count))
        start = min(path.stat().st_mtime for path in (folder / "items").glob("items/*/outputs/**/*.parquet")) - begun
        again = [_seconds(lambda: _run_stage(run, "items", count)) for _ in range(_REPEATS)]
        added = _seconds(lambda: _run_stage(run, "items", count + _ADDED))
        rebuilt = [_seconds_without_index(run, count + _ADDED, folder) for _ in range(_REPEATS)]
        figures = {"start_s": start, "all_s": seconds, "items_per_s": count / seconds, "added_s": added}
        figures |= {"done_s": statistics.median(again), "lost_index_s": statistics.median(rebuilt)}
        return figures | {"driver_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def _seconds_without_index(run: Run, count: int, folder: Path) -> float:
    for path in (*(folder / "items").glob("items/*/index.parquet"), *(folder / "items").glob("items/*/records/*")):
        path.unlink()
    return _seconds(lambda: _run_stage(run, "items", count))


def _seconds(work: Callable[[], None]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _run_stage(run: Run, name: str, count: int) -> None:
    store = StageStore(run.storage, name, {}, 1, ())
    items = {Item(name=f"folder/video-{number:06d}.mp4", identity="1"): {} for number in range(count)}
    run_items(run, store, items, lambda todo: Chain(operators=[Operator(build=_build, resources=_WORKERS)]), unit="items")


def _build() -> Work:
    return _write_row


def _write_row(store: StageStore, item: Item, payload: dict) -> dict[str, float]:
    store.storage.write_table(store.output(item), pa.table({"row": [1]}))
    return {"rows": 1}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
