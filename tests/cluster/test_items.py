"""Independent items over Ray Data: what is done, kept, refused and told."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from ray import cloudpickle

from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.items import run_items
from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.cluster.engine.rounds import Chain, Losses, stream
from abaw_ray.cluster.engine.run import Policy, Run, RunConfig
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.engine.worker import ItemWorker, Operator, WorkerConfig, manifest
from abaw_ray.core.errors import ConfigError, DataError, ItemError, StageError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage

pytestmark = pytest.mark.slow
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module


class Work:
    """Writes one row an item, and a line into a diary so that the test sees what was done."""

    def __init__(self, diary):
        self.diary = diary

    def __call__(self, store, item, payload):
        with open(self.diary, "a") as diary:
            diary.write(item.name + "\n")
        if payload.get("bad"):
            raise ItemError("not a video")
        if payload.get("lost"):
            raise DataError("where: the disk is gone; plug it in")
        times = Path(self.diary).read_text().split().count(item.name)
        if times <= payload.get("away", 0):
            raise StorageError(f"{item.name}: no answer")
        if payload.get("broke"):
            store.write_failure(item, error := ItemError("decoding broke", last_frame=5))
            store.storage.write_table(store.output(item), pa.table({"n": [1] * 5}))
            raise error
        store.storage.write_table(store.output(item), pa.table({"n": [payload["n"]]}))
        return {"rows": 1, "frames": 10}


@pytest.fixture(scope="module")
def session():
    with RaySession(ComputeConfig(object_store_mb=80)) as session:
        yield session


@pytest.fixture
def go(session, tmp_path):
    def run(payloads, *, retry=False, max_failures=0.01):
        where = RunConfig(storage=StorageConfig(uri=str(tmp_path / "runs")), policy=Policy(retry_failures=retry, max_failures=max_failures))
        job = Run(where, session)
        items = {Item(name=name, identity="1"): payload for name, payload in payloads.items()}
        store = StageStore(job.storage, "faces", {}, 1)
        operator = Operator(build=partial(Work, tmp_path / "diary"), resources=Resources(workers=2, memory_gb=0.1))
        return run_items(job, store, items, lambda: Chain(operators=[operator], longest_pause=0.1), unit="videos")

    run.diary = lambda: sorted((tmp_path / "diary").read_text().split())
    return run


GOOD = {name: {"n": number} for number, name in enumerate("abcd")}


def test_a_task_without_a_gpu_sees_none(session):
    import ray

    session.start()
    seen = ray.remote(num_cpus=1)(lambda: os.environ.get("CUDA_VISIBLE_DEVICES")).remote()
    assert ray.get(seen) == ""


def test_every_item_gets_its_output_and_a_rerun_does_nothing(go):
    record = go(GOOD)
    assert list(record.outputs) == ["a", "b", "c", "d"]
    assert record.figures == {"rows": 4, "frames": 40}
    assert go(GOOD) == record
    assert go.diary() == ["a", "b", "c", "d"]


def test_added_items_alone_are_done_and_rows_count_all(go):
    go({name: GOOD[name] for name in "ab"})
    record = go(GOOD)
    assert go.diary() == ["a", "b", "c", "d"]
    assert record.figures["rows"] == 4


def worker_of(build, store):
    return ItemWorker(WorkerConfig(store=store, build=build, longest_pause=0))


@pytest.fixture
def store(tmp_path):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", {}, 1)


def task(name, payload=None, *, retried=()):
    return manifest([(Item(name=name, identity="1"), payload or {})], dict.fromkeys(retried))[0]


def test_a_failure_that_the_store_does_not_take_is_lost_and_tried_again_later(tmp_path, store, monkeypatch):
    def no_answer(*_):
        raise StorageError("no answer")

    monkeypatch.setattr(StageStore, "write_failure", no_answer)
    (tmp_path / "diary").touch()
    row = worker_of(partial(Work, tmp_path / "diary"), store).process(task("e", {"bad": True}))
    assert (row["lost"], row["reason"], row["error"], row["finished"]) == ("no answer", "", b"", False)


def test_an_item_that_found_no_room_on_a_machines_disk_is_tried_again_later(store):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    row = worker_of(lambda: no_room, store).process(task("e"))
    assert "the disk is full" in row["lost"] and not (row["reason"] or row["finished"])


def test_work_that_cannot_be_built_yet_is_built_for_a_later_item(store):
    calls = []

    def build():
        calls.append(1)
        if len(calls) == 1:
            raise StorageError("no answer")
        return lambda *_: {"rows": 1}

    worker, row = worker_of(build, store), task("e")
    assert worker.process(row)["lost"] == "no answer"
    assert worker.process(row)["finished"] and worker.process(row)["finished"] and len(calls) == 2


def test_a_repeated_item_whose_output_exists_is_not_done_again(tmp_path, store):
    worker = worker_of(partial(Work, tmp_path / "diary"), store)
    first, second = (worker.process(task("e", {"n": 3})) for _ in range(2))
    assert (tmp_path / "diary").read_text() == "e\n"
    assert first["finished"] and second["finished"]
    assert [json.loads(row["figures"])["rows"] for row in (first, second)] == [1, 1], "the footer of the output tells its rows"


def test_a_repeated_item_that_failed_is_reported_again_and_not_done_again(tmp_path, store):
    worker = worker_of(partial(Work, tmp_path / "diary"), store)
    for name, payload, reason in (("e", {"bad": True}, "not a video"), ("f", {"broke": True}, "decoding broke; 5 good frames are kept")):
        first, second = (worker.process(task(name, payload)) for _ in range(2))
        assert first["reason"] == second["reason"] == reason and second["finished"]
    assert (tmp_path / "diary").read_text() == "e\nf\n"


def test_a_failure_that_is_retried_is_done_again(tmp_path, store):
    worker = worker_of(partial(Work, tmp_path / "diary"), store)
    worker.process(task("e", {"broke": True}))
    row = worker.process(task("e", {"n": 3}, retried=["e"]))
    assert (row["reason"], row["finished"]) == ("", True) and (tmp_path / "diary").read_text() == "e\ne\n"


def test_an_item_whose_worker_was_killed_between_its_failure_and_its_output_is_done_again(tmp_path, store):
    item = Item(name="f", identity="1")
    store.write_failure(item, ItemError("decoding broke", last_frame=5))
    row = worker_of(partial(Work, tmp_path / "diary"), store).process(task("f", {"n": 3}))
    assert (row["reason"], row["finished"]) == ("", True)


def outcomes(*rows):
    """A round in which machines lost tasks or did them, in this order."""
    losses = Losses(workers=2)
    for task, (machine, lost) in enumerate(rows):
        losses.add({"task": task, "name": f"v{task}", "machine": machine, "worker": machine, "lost": "no room" * lost})
    return losses


def test_a_machine_that_loses_what_others_do_is_shunned():
    assert outcomes(("a", False), ("b", False), ("b", True), ("a", False)).failing_machines == {"b"}


def test_a_machine_that_found_its_way_again_is_not():
    assert outcomes(("b", True), ("a", False), ("b", False)).failing_machines == frozenset()


def test_where_every_machine_loses_tasks_none_is_excluded():
    assert outcomes(("a", False), ("a", True), ("b", True)).failing_machines == frozenset()


def test_a_bad_item_is_a_failure_row_the_rest_goes_on_and_it_can_be_retried(go, capsys):
    record = go({**GOOD, "e": {"bad": True}})
    assert record.failures == [{"item": "e", "stage": "faces", "reason": "not a video", "last_frame": None}]
    assert "e: not a video" in capsys.readouterr().out
    assert go({**GOOD, "e": {"bad": True}}) == record
    assert len(go.diary()) == 5
    assert not go({**GOOD, "e": {"n": 4}}, retry=True).failures
    assert go.diary().count("e") == 2


def test_an_item_that_breaks_keeps_what_was_good_and_is_a_failure_all_the_same(go, tmp_path):
    record = go({**GOOD, "e": {"broke": True}})
    assert list(record.outputs) == ["a", "b", "c", "d", "e"] and record.figures["rows"] == 9
    assert record.failures == [{"item": "e", "stage": "faces", "reason": "decoding broke", "last_frame": 5}]
    (tmp_path / "runs" / record.outputs["e"]).unlink()  # as if killed between the failure and the part
    for path in (tmp_path / "runs").rglob("records/*.json"):
        path.unlink()
    assert list(go({**GOOD, "e": {"broke": True}}).outputs) == ["a", "b", "c", "d", "e"]
    assert go.diary() == ["a", "b", "c", "d", "e", "e"]
    mended = go({**GOOD, "e": {"n": 4}}, retry=True)
    assert not mended.failures and mended.figures["rows"] == 5


def test_what_storage_does_not_give_is_tried_again_after_all_others(go, capsys):
    record = go({**GOOD, "c": {"n": 2, "away": 1}})
    assert list(record.outputs) == ["a", "b", "c", "d"] and not record.failures
    assert go.diary() == ["a", "b", "c", "c", "d"]
    said = capsys.readouterr().out
    assert "c: no answer; it is retried after the others" in said
    assert "1 could not be read or written and are retried" in said


def test_what_storage_never_gives_ends_the_job_with_all_others_done_and_is_no_failure(go):
    with pytest.raises(StorageError, match="1 of 1 could not be read or written, all others are done; first c: no answer"):
        go({**GOOD, "c": {"n": 2, "away": 3}})
    assert list(go(GOOD).outputs) == ["a", "b", "c", "d"]
    assert go.diary().count("c") == 4 and go.diary().count("a") == 1


def test_a_store_that_is_gone_ends_the_job_at_once(go):
    with pytest.raises(StorageError, match="40 times in a row"):
        go({f"v{number:02d}": {"n": 1, "away": 9} for number in range(90)})
    assert len(go.diary()) < 90


def test_too_many_failures_fail_the_stage(go):
    with pytest.raises(StageError, match="3 of 3 items failed"):
        go({name: {"bad": True} for name in "xyz"})


def test_an_error_of_ours_in_a_worker_reaches_the_user_as_itself(go):
    with pytest.raises(DataError, match="^where: the disk is gone; plug it in$"):
        go({"a": {"lost": True}, "b": {"n": 1}})


def test_the_record_can_be_read_without_our_code(go, tmp_path):
    record = go(GOOD)
    found = list((tmp_path / "runs" / record.store / "records").glob("*.json"))
    assert json.loads(found[0].read_text())["outputs"] == record.outputs


def test_a_request_that_this_machine_can_never_meet_is_refused(session):
    session.start(Resources(cpus=2))
    with pytest.raises(
        ConfigError, match=r"needs 2 CPUs, 8 GPUs and 1 GB of memory at the same time, and no machine is that large; lower .*compute\.\*\.gpus"
    ):
        session.start(Resources(cpus=2, gpus=8))
    with pytest.raises(
        ConfigError, match="needs 3 workers with 1 CPUs and 1 GB of memory each at the same time, and only 2 fit on the cluster; lower"
    ):
        session.start(Resources(workers=3), gang=True)


def test_a_finished_row_arrives_while_its_neighbours_run(session, tmp_path):
    """2,100 items with two workers: more items than Ray Data would plan as blocks of their own by default."""
    store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", {}, 1)
    tasks = [(Item(name=f"{number:04d}", identity="1"), {"seconds": 60 if number == 1 else 0}) for number in range(2100)]
    operator = Operator(build=lambda: sleeps, resources=Resources(workers=2, memory_gb=0.1))
    session.start()
    rows = stream(store, tasks, Chain(operators=[operator]), {}, frozenset())
    began, first = time.monotonic(), [next(rows)["name"] for _ in range(20)]
    assert "0001" not in first and time.monotonic() - began < 50
    rows.close()


def sleeps(store, item, payload):
    time.sleep(payload["seconds"])
    return {"rows": 1}


def test_a_stage_slower_than_rays_progress_timeout_ends_well(tmp_path):
    """Ray Data would end a job in which no row arrives for that long, by default half an hour."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    env = os.environ | {"RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, script, tmp_path], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1:] == ["finished ['v']"], done.stdout + done.stderr
    assert "lowered True" in done.stdout


SLOW = """
import sys, time
from ray.data import DataContext
from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.cluster.engine.rounds import Chain, stream
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.engine.worker import Operator
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage

def work(store, item, payload):
    time.sleep(6)
    return {}

if __name__ == "__main__":
    print("lowered", DataContext().execution_no_progress_timeout_s == 1)
    store = StageStore(Storage(StorageConfig(uri=sys.argv[1])), "slow", {}, 1)
    with RaySession(ComputeConfig(object_store_mb=80)) as session:
        session.start()
        operator = Operator(build=lambda: work, resources=Resources(workers=1, memory_gb=0.1))
        rows = list(stream(store, [(Item(name="v", identity="1"), {})], Chain(operators=[operator]), {}, frozenset()))
    print("finished", [row["name"] for row in rows if row["finished"]])
"""
