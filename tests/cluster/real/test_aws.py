"""``cluster.yaml`` through ``ray up``: machines come with the work, one is taken back while it trains, and all go when nothing is to do."""

from datetime import UTC, datetime, timedelta

import pytest

from tools.clusters.namespaces.cloud import Cloud
from tools.clusters.namespaces.clusters import FEW, SubmittedTo, finish, wait_until
from tools.clusters.namespaces.hosts import LAP

EPOCHS = 12
"""Enough of them to take a machine back in their middle."""
TRAIN = ["python", "jobs/train_encoder.py", "smoke", "--cluster-size", "cpu-2", "--epochs", str(EPOCHS), *FEW, "--compute.decode.workers", "4"]
TRAIN += ["--compute.training.cpus", "2", "--compute.preemption-poll-s", "1"]
"""Four readers of images and two ranks with two CPUs each: work for two machines."""


@pytest.fixture(scope="module")
def cloud(hosts):
    made, before = Cloud(hosts, machines=5), hosts.env
    hosts.env = before | made.env
    made.client("s3").create_bucket(Bucket="abaw", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    yield made
    made.close()
    hosts.env = before


@pytest.fixture(scope="module")
def cluster(hosts, cloud):
    made = SubmittedTo(hosts, cloud.file)
    made.up()
    yield made
    made.down()


def running(cloud) -> set[str]:
    return {address for address, state in cloud.instances().items() if state == "running"}


def test_only_the_head_is_there_before_there_is_work(cloud, cluster, hosts):
    assert running(cloud) == {hosts.address("n4")}


def test_a_training_survives_a_machine_that_is_taken_back_with_a_notice(cloud, cluster, hosts):
    log = hosts.state / "aws.log"
    job = cluster.job(*TRAIN, "--storage", "s3://abaw/spot", log=log)
    wait_until(lambda: running(cloud) == {hosts.address(name) for name in ("n4", "n5", "n6")}, timeout=300, what="machines for the images")
    wait_until(lambda: f"epoch 1 of {EPOCHS}" in log.read_text(), timeout=400, what="the first epoch", step=0.2)
    cloud.metadata.notices[hosts.address("n5")] = f"{datetime.now(UTC) + timedelta(seconds=120):%Y-%m-%dT%H:%M:%SZ}"
    wait_until(lambda: "a checkpoint is written" in log.read_text(), timeout=60, what="the training to react to the notice", step=0.2)
    cloud.take_back("n5")
    finish(job, log)
    assert hosts.address("n7") in cloud.instances(), "another machine came in its place"


def test_machines_go_when_nothing_is_to_do(cloud, cluster, hosts):
    wait_until(lambda: running(cloud) == {hosts.address("n4")}, timeout=180, what="all workers to be gone", step=2)


def test_the_command_that_ends_the_cluster_ends_every_machine(cloud, cluster, hosts):
    hosts.run(LAP, "ray", "down", "-y", str(cloud.file), timeout=180)
    assert running(cloud) == set()
