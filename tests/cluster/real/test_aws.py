"""``cluster.yaml`` through ``ray up``: machines come with the work, one is taken back while it trains, and all go when nothing is to do."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud import Cloud
from clusters import SubmittedTo, wait_until
from hosts import LAP

FEW = ["--compute.item-workers", "4", "--compute.feature-workers", "2", "--compute.item-memory-gb", "0.3", "--compute.feature-memory-gb", "0.5"]
SMOKE = ["python", "jobs/pipeline.py", "smoke", "--on", "cpu-2", "--compute.heed-steps", "4", *FEW]


@pytest.fixture(scope="module")
def cloud(hosts):
    made = Cloud(hosts, machines=5)
    hosts.env |= made.env
    made.client("s3").create_bucket(Bucket="abaw", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    yield made
    made.close()


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


def test_the_line_survives_a_machine_that_is_taken_back_with_a_notice(cloud, cluster, hosts):
    log = hosts.state / "aws.log"
    job = cluster.job(*SMOKE, "--storage", "s3://abaw/spot", log=log)
    wait_until(lambda: len(running(cloud)) == 3, timeout=300, what="machines for the videos")
    wait_until(lambda: "epoch 1 of 2" in log.read_text(), timeout=400, what="the first epoch")
    (taken,) = {name for name in ("n5", "n6") if hosts.address(name) in running(cloud)} & {"n5"}
    cloud.metadata.notices[hosts.address(taken)] = f"{datetime.now(UTC) + timedelta(seconds=120):%Y-%m-%dT%H:%M:%SZ}"
    wait_until(lambda: "a checkpoint is written" in log.read_text(), timeout=60, what="the training to heed the notice")
    cloud.take_back(taken)
    job.wait(timeout=600)
    said = log.read_text()
    assert job.returncode == 0 and "exit=0" in said, said[-3000:]


def test_machines_go_when_nothing_is_to_do(cloud, cluster, hosts):
    wait_until(lambda: running(cloud) == {hosts.address("n4")}, timeout=180, what="all workers to be gone", step=2)


def test_the_command_that_ends_the_cluster_ends_every_machine(cloud, cluster, hosts):
    hosts.run(LAP, "ray", "down", "-y", str(cloud.file), timeout=180)
    assert running(cloud) == set()
