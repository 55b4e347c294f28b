"""The next item is read while the previous one is on the device: the order of events, results, errors of one item, and killed workers."""

import os
import signal
import sys
import threading
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from ray import cloudpickle
from timeouts import TIMEOUT_S

from abaw_ray.cluster.engine.workers.outcomes import Outcomes
from abaw_ray.cluster.engine.workers.rounds import Chain, process_items
from abaw_ray.cluster.engine.workers.worker import ItemWorker, Operator, WorkerConfig, manifest
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.core.errors import ConfigError, ItemError, StorageError
from abaw_ray.core.progress import Progress
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = pytest.mark.slow
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
ITEMS = 8
"""Seconds after which a wait counts as a defect."""


class Events:
    """A file with one line for each event, shared by processes."""

    def __init__(self, path):
        self.path = path

    def add(self, name, item):
        with open(self.path, "a") as file:
            file.write(f"{name} {item}\n")

    def read(self):
        return Path(self.path).read_text().splitlines() if Path(self.path).exists() else []


class SlowWork:
    """Reads an item, then encodes it on the one device; while ``overlap`` is set, an encoding lasts until another item has been read."""

    def __init__(self, folder, *, overlap):
        self.events, self.overlap, self.device_lock = Events(folder / "events"), overlap, threading.Lock()
        (folder / "pid").write_text(str(os.getpid()))

    def __call__(self, store, item, payload):
        self.events.add("load", item.name)
        if payload.get("bad"):
            raise ItemError(f"{item.name} is no video")
        lost = payload.get("lost", 0)
        if self.events.read().count(f"load {item.name}") <= lost:
            raise StorageError(f"{item.name}: no answer")
        self.events.add("loaded", item.name)
        with self.device_lock:
            self.events.add("encode", item.name)
            self._encode(payload)
            store.storage.write_table(store.output(item), pa.table({"n": [payload["n"] ** 2]}))
            self.events.add("encoded", item.name)
        return {"rows": 1}

    def _encode(self, payload):
        deadline = time.monotonic() + TIMEOUT_S
        while self.overlap and not self._next_is_read(payload["count"]):
            assert time.monotonic() < deadline, "no other item is read while this one is encoded"
            time.sleep(0.01)

    def _next_is_read(self, count):
        """Whether an item whose encoding has not begun has been read; or there is none any more."""
        lines = self.events.read()
        loaded, begun = ({line.split()[1] for line in lines if line.startswith(f"{event} ")} for event in ("loaded", "encode"))
        return len(begun) == count or bool(loaded - begun)


@pytest.fixture
def process(session, tmp_path):
    """A function that processes items with one worker; returns the outputs by name, and has the events and the store."""

    def run(payloads, *, items_per_worker=2, overlap=False, folder="runs", kind=SlowWork):
        store = StageStore(Storage(StorageConfig(uri=str(tmp_path / folder))), "slow", {}, 1)
        build = partial(kind, tmp_path, overlap=overlap)
        operator = Operator(build=build, resources=Resources(workers=1, memory_gb=0.1), items_per_worker=items_per_worker)
        tasks = [(Item(name=name, identity="1"), payload) for name, payload in payloads.items()]
        progress = Progress("slow", len(tasks), "items")
        metrics = ItemMetrics("slow", "run", RunEvents(), items=len(tasks), on_ray=True)
        outcomes = Outcomes(store, progress, metrics, store.index(), {})
        process_items(store, tasks, Chain(operators=[operator], longest_pause=0.1, run="run"), outcomes)
        run.store, run.done = store, progress.done
        outputs = store.finished([item for item, _ in tasks])
        return {name: store.storage.read_table(path)["n"].to_pylist() for name, path in outputs.items()}

    run.events = Events(tmp_path / "events")
    return run


def payloads(count=ITEMS):
    return {f"v{number}": {"n": number, "count": count} for number in range(count)}


def test_an_item_is_read_while_the_previous_one_is_encoded_and_not_earlier(process):
    """Each encoding lasts until the next item has been read, so without prefetching none would end."""
    process(payloads(), overlap=True)
    assert process.done == ITEMS
    lines = process.events.read()
    order = [line.split()[1] for line in lines if line.startswith("encode ")]
    for previous, current, following in zip(order, order[1:], order[2:], strict=False):
        at = [lines.index(event) for event in (f"encoded {previous}", f"load {following}", f"loaded {following}", f"encoded {current}")]
        assert at == sorted(at), lines


def test_a_worker_holds_two_items_at_most_and_encodings_do_not_overlap(process):
    process(payloads())
    held, encoding = 0, 0
    for line in process.events.read():
        event = line.split()[0]
        held += {"load": 1, "encoded": -1}.get(event, 0)
        encoding += {"encode": 1, "encoded": -1}.get(event, 0)
        assert encoding <= 1 and held <= 2, line


def test_the_results_are_those_without_prefetching_and_without_it_items_do_not_overlap(process):
    prefetched = process(payloads())
    process.events.path.unlink()
    assert process(payloads(), items_per_worker=1, folder="sequential") == prefetched
    assert process.done == ITEMS
    order = [line.split() for line in process.events.read()]
    assert {name for event, name in order if event == "encoded"} == {f"v{number}" for number in range(ITEMS)}
    assert all(one[1] == other[1] for one, other in pairwise(order) if other[0] != "load"), "an item began before the previous one ended"


def test_an_error_while_the_next_item_is_read_is_a_failure_of_that_item_only(process, capsys):
    items = payloads(6)
    items["v1"]["bad"] = items["v4"]["bad"] = True
    assert process(items) == {f"v{number}": [number**2] for number in (0, 2, 3, 5)} and process.done == 6
    failures = process.store.failures([Item(name=name, identity="1") for name in items])
    assert {name: row["reason"] for name, row in failures.items()} == {"v1": "v1 is no video", "v4": "v4 is no video"}
    assert capsys.readouterr().out.count("is no video") == 2


def test_a_storage_error_of_the_next_item_is_retried_after_the_others_with_as_many_chances(process, capsys):
    items = payloads(4)
    items["v1"]["lost"] = 2
    assert process(items) == {f"v{number}": [number**2] for number in range(4)}
    assert process.events.read().count("load v1") == 3 and process.events.read().count("load v0") == 1
    assert capsys.readouterr().out.count("1 could not be read or written and are retried") == 2


class KilledWork(SlowWork):
    """The first worker encodes its first item until it is killed."""

    def _encode(self, payload):
        deadline = time.monotonic() + TIMEOUT_S
        while self.events.read().count("killed worker") < 1:
            assert time.monotonic() < deadline, "the worker was not killed"
            time.sleep(0.01)


def test_a_killed_worker_repeats_the_item_that_it_encoded_and_the_one_that_it_had_read(process, tmp_path):
    def kill():
        while sum(line.startswith("loaded ") for line in process.events.read()) < 2:
            time.sleep(0.01)
        psutil.Process(int((tmp_path / "pid").read_text())).send_signal(signal.SIGKILL)
        process.events.add("killed", "worker")

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert process(payloads(4), kind=KilledWork) == {f"v{number}": [number**2] for number in range(4)} and process.done == 4
    thread.join(timeout=TIMEOUT_S)
    lines = process.events.read()
    before, after = lines[: lines.index("killed worker")], lines[lines.index("killed worker") :]
    held = {line.split()[1] for line in before if line.startswith("load ")}
    assert len(held) == 2 and not any(line.startswith("encoded ") for line in before)
    assert all(f"load {name}" in after and after.count(f"encoded {name}") == 1 for name in held)
    assert process.store.failures([Item(name=name, identity="1") for name in payloads(4)]) == {}


def in_threads(calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=TIMEOUT_S)


def worker_of(build, tmp_path, **options):
    store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "slow", {}, 1)
    return ItemWorker(WorkerConfig(store=store, build=build, **options))


def rows(count):
    return manifest([(Item(name=f"v{number}", identity="1"), {}) for number in range(count)], {})


def test_the_work_is_built_once_for_both_threads(tmp_path):
    built = []

    def build():
        built.append(1)
        time.sleep(0.2)
        return lambda *_: {"rows": 1}

    worker = worker_of(build, tmp_path)
    in_threads([partial(worker.process, row) for row in rows(2)])
    assert built == [1]


def test_pauses_after_losses_follow_each_other_so_a_failing_worker_loses_no_more_items_than_with_one_thread(tmp_path, monkeypatch):
    pauses, sleeping = [], threading.Semaphore(1)

    def sleep(seconds):
        assert sleeping.acquire(blocking=False), "two pauses at the same time"
        pauses.append(seconds)
        threading.Event().wait(0.05)
        sleeping.release()

    def lose(*_):
        raise StorageError("no answer")

    monkeypatch.setattr("abaw_ray.cluster.engine.workers.worker.time.sleep", sleep)
    worker, outcomes = worker_of(lambda: lose, tmp_path), []
    in_threads([lambda row=row: outcomes.append(worker.process(row)["lost"]) for row in rows(4)])
    assert outcomes == ["no answer"] * 4 and pauses == [1.0, 2.0, 4.0, 8.0]


def test_prefetching_is_on_where_workers_have_gpus_unless_the_user_decides():
    gpu = Resources(gpus=1)
    assert ComputeConfig().videos_per_features_worker == 1
    assert ComputeConfig(features=gpu).videos_per_features_worker == 2
    assert ComputeConfig(features=gpu, prefetch="off").videos_per_features_worker == 1
    assert ComputeConfig(prefetch="on").videos_per_features_worker == 2
    with pytest.raises(ConfigError, match="compute.prefetch=yes: choose auto, on or off"):
        ComputeConfig(prefetch="yes")
    with pytest.raises(ConfigError, match="compute.compile=yes: choose auto, on or off"):
        ComputeConfig(compile="yes")
