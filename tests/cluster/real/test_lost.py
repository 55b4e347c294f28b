"""What else happens to machines and jobs: a network is cut, the job's own process or its machine dies, a disk is full, somebody stops it.

Each test prepares the same faces into a place of its own, while one thing goes wrong; all must equal those of a run with which nothing did.
"""

import re
import subprocess

import pytest

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.tree import write_synthetic
from tools.clusters.namespaces.clusters import FEW, assert_same, finish, parts, recorded, results, wait_until, workers
from tools.clusters.namespaces.hosts import LAP

FACES = ["python", "jobs/prepare_faces.py", "smoke", "--videos", "s3://abaw/videos", *FEW]
EVERYWHERE = ("--compute.decode.workers", "4")
"""A worker on each CPU: of two, Ray may put both on one machine and none on the other, to whose disk something is done."""
DRAWN = SyntheticConfig(
    train=10, validation=4, test=2, seconds=4.0, stretch=(0.5, 1.2), affectnet=24, affectnet_validation=16, rafdb=16, rafdb_test=16
)
COPIES = 4
"""Of each drawn video, so that the work lasts."""


@pytest.fixture(scope="module")
def begin(cluster, store):
    """Submits the job of that name, or the same once more; returns it and its log."""
    write_synthetic(cluster.hosts.state / "drawn", DRAWN, workers=2)
    for video in sorted((cluster.hosts.state / "drawn").rglob("*.mp4")):
        for copy in range(COPIES):
            store.client.upload_file(str(video), "abaw", f"videos/{video.stem}-{copy}.mp4")

    def begin(name: str, *more: str):
        where = ["--storage", f"s3://abaw/{name}", *store.options]
        log = cluster.hosts.state / f"{name}.log"
        return cluster.job(*FACES, *where, *more, log=log), log

    return begin


@pytest.fixture
def half_way(begin, hosts, store):
    """Submits, or submits again, and waits until some more of its videos are done, and both machines at work where there is work for both."""

    def half_way(name: str, *more: str):
        before = len(parts(store, name))
        found = begin(name, *more)
        wait_until(lambda: len(parts(store, name)) > before + 1, timeout=240, what="the first videos' faces", step=0.2)
        for machine in ("n2", "n3") if more == EVERYWHERE else ():
            wait_until(lambda here=machine: _works(hosts, here), timeout=60, what=f"a worker on {machine}", step=0.1)
        assert not recorded(store, name), "the videos were done before anything could go wrong"
        return found

    return half_way


@pytest.fixture(scope="module")
def usual(begin, store):
    """Faces of a run with which nothing goes wrong."""
    finish(*begin("usual"))
    return results(store, "usual")


def _works(hosts, machine: str) -> bool:
    """Whether it has a worker of a stage's items."""
    return bool(hosts.run(machine, "pgrep", "-f", "^ray::MapWorker", check=False).stdout)


@pytest.fixture
def full_disk(hosts):
    """Leaves no byte on the disk of a machine, nor any that is given back later."""
    file = "/tmp/ray/all-that-is-left"
    nearly = "$(($(stat -f -c '%a * %S' /tmp/ray) - (32 << 20)))"  # at once, for it takes all or nothing; the rest byte by byte

    def full_disk():
        hosts.run("n3", "bash", "-c", f"fallocate -l {nearly} {file}; yes >> {file}", check=False)
        hosts.start("n3", "bash", "-c", f"while sleep 0.2; do yes >> {file}; done", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    yield full_disk
    hosts.run("n3", "pkill", "-f", file, check=False)  # nothing to end where the test failed before
    hosts.run("n3", "rm", "-f", file)


def test_a_network_that_is_cut_costs_neither_rays_seven_minutes_nor_the_others_their_work(half_way, hosts, store, usual):
    job, log = half_way("cut", *EVERYWHERE)
    hosts.cut("n3")
    finish(job, log, timeout=240)
    assert_same(results(store, "cut"), usual)
    hosts.heal("n3")
    wait_until(lambda: workers(hosts) == 2, timeout=180, what="the machine whose network is back", step=2)


def test_a_disk_that_fills_leaves_the_work_to_the_other_machines(half_way, full_disk, store, usual):
    job, log = half_way("fills", *EVERYWHERE)
    full_disk()
    finish(job, log, timeout=400)
    assert "the disk is full" in log.read_text()
    assert_same(results(store, "fills"), usual)


def test_a_machine_whose_disk_was_full_before_is_named_in_one_line(begin, full_disk, hosts, usual):
    full_disk()
    job, log = begin("was-full", *EVERYWHERE)
    assert job.wait(timeout=240) != 0
    said = log.read_text()
    assert "Traceback" not in said
    assert re.search(rf"exit=5 error: {hosts.address('n3')}: .*No space left on device", said)


def test_a_job_that_is_killed_then_stopped_then_loses_its_head_goes_on_each_time(half_way, begin, cluster, hosts, store, usual):
    job, log = half_way("thrice")
    hosts.run("n1", "pkill", "-KILL", "-f", "prepare_faces.py smoke")
    assert job.wait(timeout=120) != 0
    killed = parts(store, "thrice")

    job, log = half_way("thrice")
    name = re.search(r"raysubmit_\w+", log.read_text())[0]
    hosts.run(LAP, "ray", "job", "stop", "--address", "http://127.0.0.1:8265", name, timeout=120)
    job.wait(timeout=60)
    assert "exit=130 stopped; what was finished is kept" in log.read_text()
    stopped = parts(store, "thrice")

    job, log = half_way("thrice")
    hosts.power_off("n1")
    job.terminate()
    job.wait(timeout=60)
    headless = parts(store, "thrice")
    hosts.boot("n1")
    cluster.up()
    wait_until(lambda: workers(hosts) == 2, timeout=180, what="the workers of the new head", step=2)
    assert not recorded(store, "thrice")
    finish(*begin("thrice"))

    done = parts(store, "thrice")
    assert done.items() >= headless.items() >= stopped.items() >= killed.items(), "nothing that was there was done again"
    assert_same(results(store, "thrice"), usual)
