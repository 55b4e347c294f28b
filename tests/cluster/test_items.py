"""Independent items on Ray Data: outputs, failures, retries and messages."""

import json
import os
import subprocess
import sys
import time
from functools import partial

import logged_work
import pytest
from logged_work import LoggedWork
from ray import cloudpickle
from timeouts import TIMEOUT_S

from abaw_ray.cluster.engine.items import run_items
from abaw_ray.cluster.engine.run import Policy, Run, RunConfig
from abaw_ray.cluster.engine.workers.rounds import Chain, stream
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import ConfigError, DataError, StageError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = pytest.mark.slow
for module in (sys.modules[__name__], logged_work):
    cloudpickle.register_pickle_by_value(module)  # workers cannot import test modules


@pytest.fixture(scope="module")
def session():
    with RaySession(ComputeConfig(object_store_mb=80)) as session:
        yield session


@pytest.fixture
def process(session, tmp_path):
    """A function that processes items on Ray with two workers and returns the record; ``calls`` lists the processed items."""

    def run(payloads, *, retry=False, max_failures=0.01):
        config = RunConfig(storage=StorageConfig(uri=str(tmp_path / "runs")), policy=Policy(retry_failures=retry, max_failures=max_failures))
        stage_run = Run(config, session)
        items = {Item(name=name, identity="1"): payload for name, payload in payloads.items()}
        store = StageStore(stage_run.storage, "faces", {}, 1)
        operator = Operator(build=partial(LoggedWork, tmp_path / "calls"), resources=Resources(workers=2, memory_gb=0.1))
        return run_items(stage_run, store, items, lambda todo: Chain(operators=[operator], longest_pause=0.1), unit="videos")

    run.calls = lambda: sorted((tmp_path / "calls").read_text().split())
    return run


GOOD = {name: {"n": number} for number, name in enumerate("abcd")}


def test_a_task_without_a_gpu_sees_none(session):
    import ray

    session.start()
    seen = ray.remote(num_cpus=1)(lambda: os.environ.get("CUDA_VISIBLE_DEVICES")).remote()
    assert ray.get(seen) == ""


def test_every_item_gets_its_output_and_a_rerun_does_nothing(process):
    record = process(GOOD)
    assert list(record.outputs) == ["a", "b", "c", "d"]
    assert record.figures == {"rows": 4, "frames": 40}
    assert process(GOOD) == record
    assert process.calls() == ["a", "b", "c", "d"]


def test_only_added_items_are_processed_and_the_figures_count_all(process):
    process({name: GOOD[name] for name in "ab"})
    record = process(GOOD)
    assert process.calls() == ["a", "b", "c", "d"]
    assert record.figures["rows"] == 4


@pytest.fixture
def reads(monkeypatch):
    """Paths whose Parquet footer is read, and failures that are read, in this process."""
    paths, rows, content = [], Storage.table_rows, Storage.read_bytes
    monkeypatch.setattr(Storage, "table_rows", lambda storage, path: paths.append(path) or rows(storage, path))
    monkeypatch.setattr(Storage, "read_bytes", lambda storage, path: ("/failures/" in path and paths.append(path)) or content(storage, path))
    return paths


def test_adding_items_reads_no_old_output_and_no_old_failure(process, reads):
    process(GOOD | {"e": {"damaged": True}})
    reads.clear()
    record = process(GOOD | {"e": {"damaged": True}, "f": {"n": 1}})
    assert record.figures["rows"] == 10 and len(record.failures) == 1 and reads == []


def test_outputs_of_a_run_that_was_killed_are_read_once(process, tmp_path, reads):
    record = process(GOOD)
    (tmp_path / "runs" / record.store / "index.parquet").unlink()
    for path in (tmp_path / "runs").rglob("records/*.json"):
        path.unlink()
    assert process(GOOD).figures["rows"] == 4
    assert sorted(reads) == sorted(record.outputs.values())
    reads.clear()
    assert process(GOOD | {"f": {"n": 1}}).figures["rows"] == 5 and reads == []


def test_a_bad_item_is_a_failure_row_which_can_be_retried_and_the_others_are_processed(process, capsys):
    record = process({**GOOD, "e": {"bad": True}})
    assert record.failures == [{"item": "e", "stage": "faces", "reason": "not a video", "last_frame": None}]
    assert "e: not a video" in capsys.readouterr().out
    assert process({**GOOD, "e": {"bad": True}}) == record
    assert len(process.calls()) == 5
    assert not process({**GOOD, "e": {"n": 4}}, retry=True).failures
    assert process.calls().count("e") == 2


def test_a_damaged_item_keeps_its_good_rows_and_is_a_failure(process, tmp_path):
    record = process({**GOOD, "e": {"damaged": True}})
    assert list(record.outputs) == ["a", "b", "c", "d", "e"] and record.figures["rows"] == 9
    assert record.failures == [{"item": "e", "stage": "faces", "reason": "decoding broke", "last_frame": 5}]
    (tmp_path / "runs" / record.outputs["e"]).unlink()  # as if killed between the failure and the output
    for path in (tmp_path / "runs").rglob("records/*.json"):
        path.unlink()
    assert list(process({**GOOD, "e": {"damaged": True}}).outputs) == ["a", "b", "c", "d", "e"]
    assert process.calls() == ["a", "b", "c", "d", "e", "e"]
    retried = process({**GOOD, "e": {"n": 4}}, retry=True)
    assert not retried.failures and retried.figures["rows"] == 5


def test_an_item_with_a_storage_error_is_retried_after_all_others(process, capsys):
    record = process({**GOOD, "c": {"n": 2, "storage_errors": 1}})
    assert list(record.outputs) == ["a", "b", "c", "d"] and not record.failures
    assert process.calls() == ["a", "b", "c", "c", "d"]
    printed = capsys.readouterr().out
    assert "c: no answer; it is retried after the others" in printed
    assert "1 could not be read or written and are retried" in printed


def test_an_item_with_a_permanent_storage_error_ends_the_job_after_all_others_and_is_no_failure(process):
    with pytest.raises(StorageError, match="1 of 1 could not be read or written, all others are done; first c: no answer"):
        process({**GOOD, "c": {"n": 2, "storage_errors": 3}})
    assert list(process(GOOD).outputs) == ["a", "b", "c", "d"]
    assert process.calls().count("c") == 4 and process.calls().count("a") == 1


def test_an_unreachable_store_ends_the_job_before_all_items_are_tried(process):
    with pytest.raises(StorageError, match="40 times in a row"):
        process({f"v{number:02d}": {"n": 1, "storage_errors": 9} for number in range(90)})
    assert len(process.calls()) < 90


def test_too_many_failures_fail_the_stage(process):
    with pytest.raises(StageError, match="3 of 3 items failed"):
        process({name: {"bad": True} for name in "xyz"})


def test_an_error_of_the_package_in_a_worker_is_raised_unchanged(process):
    with pytest.raises(DataError, match="^where: the disk is gone; plug it in$"):
        process({"a": {"data_error": True}, "b": {"n": 1}})


def test_a_record_is_a_json_file_whose_size_does_not_depend_on_the_number_of_items(process, tmp_path):
    sizes = []
    for payloads in ({"a": {"n": 0}}, GOOD):
        record = process(payloads)
        assert list(record.outputs) == list(payloads)
        files = (tmp_path / "runs" / record.store / "records").glob("*.json")
        newest = max(files, key=lambda path: path.stat().st_mtime_ns)
        sizes.append(len(json.dumps(json.loads(newest.read_text()) | {"finished": "", "seconds": 0})))
    assert abs(sizes[1] - sizes[0]) < 5


def test_resources_that_this_machine_cannot_provide_are_refused(session):
    session.start(Resources(cpus=2))
    with pytest.raises(
        ConfigError, match=r"needs 2 CPUs, 8 GPUs and 1 GB of memory at the same time, and no machine is that large; lower .*compute\.\*\.gpus"
    ):
        session.start(Resources(cpus=2, gpus=8))
    with pytest.raises(
        ConfigError, match="needs 3 workers with 1 CPUs and 1 GB of memory each at the same time, and only 2 fit on the cluster; lower"
    ):
        session.start(Resources(workers=3), gang=True)


def test_a_finished_row_arrives_while_its_neighbors_run(session, tmp_path):
    """2,100 items with two workers: by default, Ray Data would put several of so many items into one block, whose rows come with its last one."""
    store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", {}, 1)
    tasks = [(Item(name=f"{number:04d}", identity="1"), {"waits": number == 1}) for number in range(2100)]
    operator = Operator(build=partial(partial, waits_for, tmp_path / "go"), resources=Resources(workers=2, memory_gb=0.1))
    session.start()
    rows = stream(store, tasks, Chain(operators=[operator]), {}, frozenset())
    first = [next(rows)["name"] for _ in range(20)]
    (tmp_path / "go").touch()
    rows.close()
    assert "0001" not in first


def waits_for(file, store, item, payload):
    """One item waits for the file, or for two minutes."""
    deadline = time.monotonic() + TIMEOUT_S
    while payload["waits"] and not file.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    return {"rows": 1}


def test_a_stage_slower_than_rays_progress_timeout_finishes(tmp_path):
    """Ray Data ends a job in which no row arrives for this time, by default half an hour."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    env = os.environ | {"RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, script, tmp_path], env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.stdout.splitlines()[-1:] == ["finished ['v']"], done.stdout + done.stderr
    assert "lowered True" in done.stdout


SLOW = """
import sys, time
from ray.data import DataContext
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.engine.workers.rounds import Chain, stream
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
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
