"""Overhead of the engine per item, measured by a stage whose items only write an empty file; each has a task and a block of its own."""

import time
from pathlib import Path

from abaw_ray.cluster.engine.items import run_items
from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.cluster.engine.rounds import Chain
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.engine.worker import Operator, Work
from abaw_ray.core.progress import redirect_library_output
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore

_WORKERS = Resources(workers=2, memory_gb=0.1)


def empty_items(counts: tuple[int, ...], folder: Path) -> dict[str, float]:
    """Return the seconds of one stage for each number of items, ``seconds_<count>``, and the additional milliseconds per item, ``ms_per_item``.

    The workers are started, and Ray's first tasks run, before the first measurement.
    """
    config = RunConfig(storage=StorageConfig(uri=str(folder / "items")))
    with redirect_library_output(folder / "ray.log"), RaySession(config.compute, config.storage) as session:
        run = Run(config, session)
        _run_stage(run, 10)
        seconds = {count: _run_stage(run, count) for count in counts}
    few, many = min(counts), max(counts)
    return {f"seconds_{count}": value for count, value in seconds.items()} | {"ms_per_item": 1000 * (seconds[many] - seconds[few]) / (many - few)}


def _run_stage(run: Run, count: int) -> float:
    store = StageStore(run.storage, "empty", {"items": count}, 1, ())
    items = {Item(name=f"item {number}", identity="1"): {} for number in range(count)}
    start = time.monotonic()
    run_items(run, store, items, lambda todo: Chain(operators=[Operator(build=_build, resources=_WORKERS)]), unit="items")
    return time.monotonic() - start


def _build() -> Work:
    return _write_empty


def _write_empty(store: StageStore, item: Item, payload: dict) -> dict[str, float]:
    store.storage.write_bytes(store.output(item), b"")
    return {"rows": 0}
