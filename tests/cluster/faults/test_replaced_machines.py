"""Stage I in an object store, whose machines are all lost again and again: others come at once, or later than a group of ranks may take to start."""

import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import boto3
import pytest
import ray
from moto.server import ThreadedMotoServer
from ray import cloudpickle
from ray.cluster_utils import Cluster
from reference_training import SHARDS, ReferenceTraining, write_shards
from synthetic_images import CONFIG
from timeouts import TIMEOUT_S

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import START_TIMEOUT_S, RaySession
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = [pytest.mark.faults, pytest.mark.slow]
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module

SETTINGS = replace(CONFIG, epochs=6)
STEPS = 6
"""Of an epoch."""
MEMORY = 80_000_000
REPLACEMENT_DELAYS_S = (START_TIMEOUT_S + 40, 0)
"""Seconds after which the machines of each pair have replacements: more pairs than failures are survived in a row."""
COMPUTE = ComputeConfig(
    training=Resources(workers=2),
    preemption_poll_s=0,
    recovery=RecoveryConfig(wait_minutes=60, min_workers=2, max_failures=len(REPLACEMENT_DELAYS_S) - 1),
)


@pytest.fixture(scope="module")
def store():
    """The encoder's store on an S3 server on loopback, whose keys are in the environment of the machines that are started."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
            patch.setenv(name, value)
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="results")
        storage = Storage(StorageConfig(uri="s3://results", endpoint=endpoint))
        write_shards(storage)
        yield StageStore(storage, "encoder", SETTINGS, 1)
    server.stop()


@pytest.fixture(scope="module")
def machines(store):
    """A Ray whose head has no CPUs; machines with one CPU are added."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
    ray.shutdown()
    cluster.shutdown()


class PauseAfterAnEpoch:
    """Called by each rank after each step: once its process has trained an epoch and a step, it waits to be killed, or for ``go_on``."""

    def __init__(self, go_on):
        self.go_on, self.steps = go_on, 0

    def __call__(self):
        self.steps += 1
        while self.steps > STEPS and not self.go_on.exists():
            time.sleep(0.1)
        return frozenset()


@pytest.fixture(scope="module")
def trained(store, machines, tmp_path_factory):
    """Metrics of the training, its messages, and those that came while the late machines were missing."""
    go_on, reports, messages = tmp_path_factory.mktemp("flags") / "go-on", queue.Queue(), []

    def train():
        return train_encoder(
            store=store,
            item=Item(name="run", identity="replaced"),
            shards=SHARDS,
            config=SETTINGS,
            compute=COMPUTE,
            on_report=reports.put,
            on_wait=messages.append,
            preempted_nodes=PauseAfterAnEpoch(go_on),
        )

    def pair():  # Ray starts machines in the main thread only
        return [machines.add_node(num_cpus=1, object_store_memory=MEMORY) for _ in range(2)]

    while_late = []
    with RaySession(COMPUTE, store.storage.config) as session, ThreadPoolExecutor(1) as pool:
        present = pair()
        session.start(COMPUTE.training, gang=True)
        training = pool.submit(train)
        try:
            for delay_s in REPLACEMENT_DELAYS_S:
                reports.get(timeout=TIMEOUT_S)
                for machine in present:
                    machines.remove_node(machine, allow_graceful=False)
                before = len(messages)
                time.sleep(delay_s)
                while_late += messages[before:] if delay_s else []
                present = pair()
            go_on.touch()
            return training.result(timeout=TIMEOUT_S), messages, while_late
        except BaseException:  # or the pool would wait for a training that waits for machines
            go_on.touch()
            ray.shutdown()
            raise


def test_a_training_outlasts_more_lost_machines_than_failures_in_a_row(trained):
    curve, messages, _ = trained[0]["curve"], *trained[1:]
    assert [row["epoch"] for row in curve] == list(range(1, SETTINGS.epochs + 1))
    assert {row["workers"] for row in curve} == {2}
    assert sum("(failure 1, at most 1 without a new checkpoint)" in message for message in messages) == len(REPLACEMENT_DELAYS_S)


def test_machines_that_come_later_than_ranks_may_start_are_waited_for_and_cost_no_failure(trained):
    _, messages, while_late = trained
    waits = [message for message in while_late if message.startswith("waiting ")]
    assert len(waits) >= 2, "a line a minute"
    assert all("for 2 workers with 1 CPU + 1 GB each; there is room for 0" in message for message in waits)
    assert not any("were not ready" in message or "starts with" in message for message in messages)


def test_the_losses_change_nothing_in_the_result(store, trained, tmp_path):
    for row, (loss, metrics, _) in zip(trained[0]["curve"], ReferenceTraining(SETTINGS, store.storage, tmp_path).epochs(), strict=True):
        assert row["loss"] == pytest.approx(loss, rel=1e-5)
        assert row["val_loss"] == pytest.approx(metrics["val_loss"], rel=1e-5)
