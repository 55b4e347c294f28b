"""Stage I on machines that come and go: it starts with the one that is there, takes another when it comes, and continues when that one is lost."""

import os
import queue
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import ray
from ray.cluster_utils import Cluster
from reference_training import SHARDS, ReferenceTraining, write_shards
from synthetic_images import CONFIG
from timeouts import TIMEOUT_S

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SETTINGS = replace(CONFIG, epochs=6, zero_stage=2)
MEMORY = 80_000_000
COMPUTE = ComputeConfig(
    training=Resources(workers=2),
    preemption_poll_s=0,
    recovery=RecoveryConfig(wait_minutes=0.05),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    storage = Storage(StorageConfig(uri=str(tmp_path_factory.mktemp("encoder"))))
    write_shards(storage)
    return StageStore(storage, "encoder", SETTINGS, 1)


@pytest.fixture(scope="module")
def machines(monkeypatch_module):
    """Machines of this Ray: a head without CPUs, and one with a CPU."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False})
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    monkeypatch_module.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def trained(store, machines, tmp_path_factory):
    """Metrics and messages of the training."""
    flags, reports, messages = tmp_path_factory.mktemp("flags"), queue.Queue(), []

    def wait_after_second_step():  # called by the ranks after each step
        deadline = time.monotonic() + TIMEOUT_S
        while not (flags / "machine-came").exists() and (flags / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        (flags / "started").touch()
        return frozenset()

    def train():
        return train_encoder(
            store=store,
            item=Item(name="run", identity="machines"),
            shards=SHARDS,
            config=SETTINGS,
            compute=COMPUTE,
            on_report=reports.put,
            on_wait=messages.append,
            preempted_nodes=wait_after_second_step,
        )

    with RaySession(COMPUTE) as session, ThreadPoolExecutor(1) as pool:
        session.start(COMPUTE.training, gang=True)
        training = pool.submit(train)
        deadline = time.monotonic() + TIMEOUT_S
        while not (flags / "started").exists():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        machine = machines.add_node(num_cpus=1, object_store_memory=MEMORY)  # Ray does this in the main thread only
        time.sleep(2)  # until the request of the rank is placed there
        (flags / "machine-came").touch()
        while reports.get(timeout=TIMEOUT_S)["workers"] == 1:
            pass
        machines.remove_node(machine, allow_graceful=False)
        return training.result(timeout=TIMEOUT_S), messages


def test_a_training_uses_the_machines_that_are_there(trained):
    workers = [row["workers"] for row in trained[0]["curve"]]
    assert workers[0] == 1, "one machine was there"
    assert 2 in workers, "another came"
    assert workers[-1] == 1, "it was lost"


def test_the_user_is_told(trained):
    assert sum("starts with 1 of 2 workers" in message for message in trained[1]) == 2
    (failure,) = (message for message in trained[1] if "failure" in message)
    assert failure.startswith("the training failed (") and failure.endswith("(failure 1, at most 3 without a new checkpoint)")


def test_the_number_of_machines_changes_nothing_in_the_result(store, trained, tmp_path):
    for row, (loss, metrics, _) in zip(trained[0]["curve"], ReferenceTraining(SETTINGS, store.storage, tmp_path).epochs(), strict=True):
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
        assert row["val_loss"] == pytest.approx(metrics["val_loss"], rel=1e-5)


WAITING = """
import signal
import sys
import time
from dataclasses import replace
from test_encoder_machines import COMPUTE, SETTINGS, SHARDS, StageStore, Storage, StorageConfig
from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core.stage_store.record import Item

signal.signal(signal.SIGINT, signal.default_int_handler)  # as in every command; a background job of a shell ignores it
compute = replace(COMPUTE, recovery=RecoveryConfig(wait_minutes=60))
store = StageStore(Storage(StorageConfig(uri=sys.argv[1])), "encoder", SETTINGS, 1)
with RaySession(compute) as session:
    session.start(compute.training, gang=True)
    try:
        train_encoder(
            store=store,
            item=Item(name="waiting", identity="machines"),
            shards=SHARDS,
            config=SETTINGS,
            compute=compute,
            on_report=print,
            on_wait=lambda text: print(text, flush=True),
            preempted_nodes=None,
        )
    except KeyboardInterrupt:
        print(f"interrupted at {time.time()}", flush=True)
        raise
"""


def test_ctrl_c_ends_a_training_that_waits_for_machines(store, trained, tmp_path):
    log, environment = tmp_path / "log.txt", {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with log.open("w") as out:
        waiting = subprocess.Popen([sys.executable, "-c", WAITING, store.storage.uri()], env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while "waiting" not in log.read_text():
            assert waiting.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        sent = time.time()
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=TIMEOUT_S) != 0  # with the end of its Ray session
    finally:
        waiting.kill()
    lines = log.read_text().splitlines()
    assert lines[-1] == "KeyboardInterrupt"
    (interrupted,) = (float(line.rpartition(" ")[2]) for line in lines if line.startswith("interrupted at "))
    assert interrupted - sent < 5, "Ray Train alone would ignore it until the machines are there"


def test_no_request_for_machines_is_left(trained, machines):
    ray.init(machines.address, logging_level="ERROR")  # the session of the training has ended
    states = [group["state"] for group in ray.util.placement_group_table().values()]
    assert set(states) == {"REMOVED"}
