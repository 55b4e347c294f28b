"""``cluster.yaml`` with ``ray up``: workers start with the work, one is interrupted, all end when idle, on-demand machines replace them."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from timeouts import TIMEOUT_S

from tools.clusters.namespaces.cloud import MockAws
from tools.clusters.namespaces.clusters import SMALL_COMPUTE, RayCluster, wait_for_success, wait_until
from tools.clusters.namespaces.hosts import CLIENT

EPOCHS = 60
"""Enough to interrupt a machine during training, to continue without it, and to take its replacement."""
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
TRAIN += ["--compute.training.cpus", "2", "--compute.preemption-poll-s", "1", "--compute.recovery.wait-minutes", "0.3"]
"""Four image workers and two ranks with two CPUs each: work for two machines."""
ON_DEMAND = ["--compute.on-demand-after-minutes", "0.4"]
NO_CAPACITY = "InsufficientInstanceCapacity in us-west-2a"


@pytest.fixture(scope="module")
def cloud(hosts):
    cloud, env = MockAws(hosts, machines=6), hosts.env
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


def test_training_waits_for_machines_and_continues_without_and_with_them(cloud, cluster, hosts):
    log = hosts.state / "aws.log"

    def wait_for_line(text, *, timeout):
        wait_until(lambda: text in log.read_text(), timeout=timeout, what=text, interval=0.2, log=log)

    cloud.has_spot_capacity = False
    job = cluster.submit(*TRAIN, "--storage", "s3://abaw/spot", log=log)
    wait_for_line(f"for 4 workers with 1 CPU + 0.3 GB each: m7i.4xlarge: {NO_CAPACITY}", timeout=TIMEOUT_S)
    cloud.has_spot_capacity = True
    wait_until(lambda: running(cloud) == {hosts.address(name) for name in ("n4", "n5", "n6")}, timeout=TIMEOUT_S, what="two workers", log=log)
    wait_for_line(f"epoch 1 of {EPOCHS}", timeout=TIMEOUT_S)

    cloud.has_spot_capacity = False
    cloud.metadata.notices[hosts.address("n5")] = f"{datetime.now(UTC) + timedelta(seconds=120):%Y-%m-%dT%H:%M:%SZ}"
    wait_for_line("a checkpoint was written", timeout=TIMEOUT_S)
    cloud.interrupt("n5")
    wait_for_line("starts with 1 of 2 workers", timeout=TIMEOUT_S)
    assert f"for 2 workers with 2 CPU + 1 GB each; there is room for 1: m7i.4xlarge: {NO_CAPACITY}" in log.read_text()
    cloud.has_spot_capacity = True
    wait_for_success(job, log)
    assert hosts.address("n7") in cloud.instances(), "no replacement machine was started"
    ranks = [row["workers"] for row in curve(cloud)]
    assert (ranks[0], min(ranks), ranks[-1]) == (2, 1, 2), "the training goes on with one rank, and then with two again"


def curve(cloud) -> list[dict]:
    """Metrics of the epochs of the training."""
    s3 = cloud.client("s3")
    (key,) = (item["Key"] for item in s3.list_objects_v2(Bucket="abaw", Prefix="spot/encoder/")["Contents"] if item["Key"].endswith("/curve.json"))
    return json.loads(s3.get_object(Bucket="abaw", Key=key)["Body"].read())


def test_idle_machines_end(cloud, cluster, hosts):
    wait_until(lambda: running(cloud) == {hosts.address("n4")}, timeout=TIMEOUT_S, what="the end of all workers", interval=2)


def test_an_on_demand_machine_does_the_work_after_a_wait_without_spot_machines(cloud, cluster, hosts):
    log = hosts.state / "on-demand.log"
    cloud.has_spot_capacity = False
    job = cluster.submit("python", "jobs/prepare_faces.py", "smoke", *SMALL_COMPUTE[:4], *ON_DEMAND, "--storage", "s3://abaw/demand", log=log)
    text = wait_for_success(job, log)
    waits, requests = text.index(f"m7i.4xlarge: {NO_CAPACITY}"), text.index("requests 1 on-demand machine for 2 workers with 1 CPU + 0.3 GB")
    assert waits < requests
    s3 = cloud.client("s3")
    runs = [item["Key"] for item in s3.list_objects_v2(Bucket="abaw", Prefix="demand/runs/")["Contents"] if item["Key"].endswith("/run.json")]
    stages = json.loads(s3.get_object(Bucket="abaw", Key=runs[0])["Body"].read())["stages"]
    assert len(runs) == 1 and stages["faces"]["machine_hours"].keys() == {"head", "m7i.4xlarge on demand"} and stages["faces"]["usd"] > 0
    assert len(running(cloud)) == 2, "one machine on demand beside the head"


def test_ray_down_terminates_every_machine(cloud, cluster, hosts):
    hosts.run(CLIENT, "ray", "down", "-y", str(cloud.file), timeout=TIMEOUT_S)
    assert running(cloud) == set()
