"""``cluster.yaml`` with ``ray up``: workers start with the work, one is interrupted during training, and all end when idle."""

from datetime import UTC, datetime, timedelta

import pytest

from tools.clusters.namespaces.cloud import MockAws
from tools.clusters.namespaces.clusters import SMALL_COMPUTE, RayCluster, wait_for_success, wait_until
from tools.clusters.namespaces.hosts import CLIENT

EPOCHS = 12
"""Enough to interrupt a machine during training."""
TRAIN = [
    "python",
    "jobs/train_encoder.py",
    "smoke",
    "--cluster-size",
    "cpu-2",
    "--encoder.epochs",
    str(EPOCHS),
    *SMALL_COMPUTE,
    "--compute.decode.workers",
    "4",
]
TRAIN += ["--compute.training.cpus", "2", "--compute.preemption-poll-s", "1"]
"""Four image workers and two ranks with two CPUs each: work for two machines."""


@pytest.fixture(scope="module")
def cloud(hosts):
    cloud, env = MockAws(hosts, machines=5), hosts.env
    hosts.env = env | cloud.env
    cloud.client("s3").create_bucket(Bucket="abaw", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    yield cloud
    cloud.close()
    hosts.env = env


@pytest.fixture(scope="module")
def cluster(hosts, cloud):
    cluster = RayCluster(hosts, cloud.file)
    cluster.up()
    yield cluster
    cluster.down()


def running(cloud) -> set[str]:
    return {address for address, state in cloud.instances().items() if state == "running"}


def test_only_the_head_runs_before_there_is_work(cloud, cluster, hosts):
    assert running(cloud) == {hosts.address("n4")}


def test_training_continues_after_a_spot_interruption(cloud, cluster, hosts):
    log = hosts.state / "aws.log"
    job = cluster.submit(*TRAIN, "--storage", "s3://abaw/spot", log=log)
    wait_until(lambda: running(cloud) == {hosts.address(name) for name in ("n4", "n5", "n6")}, timeout=300, what="two workers", log=log)
    wait_until(lambda: f"epoch 1 of {EPOCHS}" in log.read_text(), timeout=400, what="the first epoch", interval=0.2, log=log)
    cloud.metadata.notices[hosts.address("n5")] = f"{datetime.now(UTC) + timedelta(seconds=120):%Y-%m-%dT%H:%M:%SZ}"
    wait_until(lambda: "a checkpoint was written" in log.read_text(), timeout=60, what="a checkpoint after the notice", interval=0.2, log=log)
    cloud.interrupt("n5")
    wait_for_success(job, log)
    assert hosts.address("n7") in cloud.instances(), "no replacement machine was started"


def test_idle_machines_end(cloud, cluster, hosts):
    wait_until(lambda: running(cloud) == {hosts.address("n4")}, timeout=180, what="the end of all workers", interval=2)


def test_ray_down_terminates_every_machine(cloud, cluster, hosts):
    hosts.run(CLIENT, "ray", "down", "-y", str(cloud.file), timeout=180)
    assert running(cloud) == set()
