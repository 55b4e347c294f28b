"""Work whose processes Ray's memory monitor kills: tasks are started again a few times, items are failures after their second death."""

import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray import cloudpickle
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.engine.workers.outcomes import Outcomes
from abaw_ray.cluster.engine.workers.rounds import Chain, process_items
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.cluster.stages.stage_two import trials
from abaw_ray.core.errors import StageError
from abaw_ray.core.progress import Progress
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.fusion.config import SweepConfig

pytestmark = [pytest.mark.faults, pytest.mark.slow]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
ROOM = 0.25
"""Fraction of the free memory that may be used before the monitor kills; much, because other tests run at the same time."""
BLOCK = 40_000_000
"""Bytes by which a process grows at a time."""


@pytest.fixture(scope="module")
def session():
    with pytest.MonkeyPatch.context() as patch:
        used, total = get_used_memory(), get_system_memory()
        patch.setenv("RAY_memory_usage_threshold", f"{(used + ROOM * (total - used)) / total:.4f}")
        patch.setenv("RAY_memory_monitor_refresh_ms", "100")
        with RaySession(ComputeConfig(local_cpus=1, object_store_mb=80)) as session:
            session.start()
            yield session


def grow(log):
    """Take more and more memory, until this process is killed."""
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\n")
    blocks = []
    while True:
        blocks.append(bytearray(BLOCK))
        time.sleep(0.02)


def test_a_task_that_is_killed_for_memory_each_time_ends_with_a_line_that_names_the_machine(session, tmp_path):
    log = tmp_path / "processes"
    task = ray.remote(**Resources(memory_gb=0.1).task_options, max_retries=3)(grow)
    with pytest.raises(StageError) as raised:
        fetch(task.remote(str(log)), "predictions")
    text = str(raised.value)
    assert text.startswith(f"predictions: {ray.util.get_node_ip_address()} has too little memory for it (") and "\n" not in text
    assert 1 < len(set(log.read_text().split())) <= 4, "it began three times again, at most"


class GrowOrWrite:
    """Writes an item's output, or takes memory until its process is killed."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, store, item, payload):
        if payload:
            grow(f"{self.folder}/{item.name}")
        store.storage.write_bytes(store.output(item), b"done")
        return {}


def test_an_item_whose_worker_is_killed_for_memory_twice_is_a_failure_and_all_others_are_done(session, tmp_path):
    store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "memory", {}, 1)
    tasks = [(Item(name=f"v{number}", identity="1"), {"grow": 1} if number == 1 else {}) for number in range(4)]
    operator = Operator(build=lambda: GrowOrWrite(str(tmp_path)), resources=Resources(workers=1, memory_gb=0.1))
    metrics = ItemMetrics("memory", "run", RunEvents(), items=len(tasks), on_ray=True)
    outcomes = Outcomes(store, Progress("memory", len(tasks), "items"), metrics, store.index(), {})
    process_items(store, tasks, Chain(operators=[operator]), outcomes)
    items = [item for item, _ in tasks]
    assert store.finished(items).keys() == {"v0", "v2", "v3"}
    (failure,) = store.failures(items).values()
    assert "its worker's process died twice while it was processed" in failure["reason"]
    assert len(set((tmp_path / "v1").read_text().split())) == 2


def hungry_trial(sweep, frames, mode, candidates, path):
    """A trial that grows until it is killed as often as ``frames`` says, and then stores its result."""
    log = Path(sweep.store.storage.uri("starts"))
    with log.open("a") as file:
        file.write("x")
    if len(log.read_text()) <= frames:
        grow(os.devnull)
    rows = [{"changes": dict(one), "curve": [{"macro_f1": 0.5}], "stopped": False} for one in candidates]
    sweep.store.storage.write_bytes(path, json.dumps(rows).encode())
    return rows


def test_a_trial_that_is_killed_for_memory_is_tried_again_and_then_ends_with_a_line(session, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trials, "run_trial", hungry_trial)
    run = SimpleNamespace(compute=SimpleNamespace(fusion=Resources(workers=1, memory_gb=0.1)), session=session)

    def sweep(name, kills):
        store = StageStore(Storage(StorageConfig(uri=str(tmp_path / name))), "fusion", {}, 1)
        Path(tmp_path / name).mkdir()
        of_kills = trials.Sweep(
            store=store,
            item=Item(name="run", identity="1"),
            finished="trials",
            config=SweepConfig(trials=1, candidates=1),
            train_folds={},
            all_folds={},
            default=0,
            threads=1,
        )
        return trials.run_trials(run, of_kills, ray.put(kills), ("fused",))

    assert [row["trial"] for row in sweep("once", 1)["fused"]] == [1]
    assert "has too little memory for it" in capsys.readouterr().out
    with pytest.raises(StageError, match=r"^fusion: a trial: \S+ has too little memory for it .*raise compute\.fusion\.memory-gb"):
        sweep("always", 99)
    assert len((tmp_path / "always/starts").read_text()) == 3
