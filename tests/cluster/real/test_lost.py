"""Faults of machines and jobs: a machine is disconnected, the driver or the head dies, a disk is full, the job is stopped.

Each test prepares the same faces in its own storage prefix under one fault; the results must equal those of a run without faults.
"""

import re

import pytest
from timeouts import TIMEOUT_S

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.tree import write_synthetic
from tools.clusters.namespaces.clusters import (
    SMALL_COMPUTE,
    alive_workers,
    assert_same_tables,
    has_record,
    outputs,
    results,
    wait_for_success,
    wait_until,
)
from tools.clusters.namespaces.hosts import CLIENT

FACES = ["python", "jobs/prepare_faces.py", "smoke", "--videos", "s3://abaw/videos", *SMALL_COMPUTE]
FOUR_WORKERS = ("--compute.decode.workers", "4")
"""One per CPU. Ray may place two workers on one machine, and then none on the machine under the fault."""
SYNTHETIC = SyntheticConfig(
    train_subjects=10,
    val_subjects=4,
    test_subjects=2,
    video_duration_s=4.0,
    segment_duration_s=(0.5, 1.2),
    affectnet_train_images=24,
    affectnet_val_images=16,
    rafdb_train_images=16,
    rafdb_test_images=16,
)
COPIES = 4
"""Copies of each synthetic video, so that the job lasts long enough."""


@pytest.fixture(scope="module")
def submit(cluster, store):
    """Return a function that submits the job of a name, also again; it returns the job and its log."""
    wait_until(lambda: alive_workers(cluster.hosts) == 2, timeout=TIMEOUT_S, what="the workers", interval=1)
    write_synthetic(cluster.hosts.state / "synthetic", SYNTHETIC, workers=2)
    for video in sorted((cluster.hosts.state / "synthetic").rglob("*.mp4")):
        for copy in range(COPIES):
            store.client.upload_file(str(video), "abaw", f"videos/{video.stem}-{copy}.mp4")

    def submit(name: str, *more: str):
        where = ["--storage", f"s3://abaw/{name}", *store.options]
        log = cluster.hosts.state / f"{name}.log"
        return cluster.submit(*FACES, *where, *more, log=log), log

    return submit


@pytest.fixture
def submit_and_wait(submit, hosts, store):
    """Return a function that submits a job, also again, and waits for more finished videos; with FOUR_WORKERS, for workers on both machines."""

    def submit_and_wait(name: str, *more: str):
        before = len(outputs(store, name))
        submitted = submit(name, *more)
        wait_until(lambda: len(outputs(store, name)) > before + 1, timeout=TIMEOUT_S, what="the first videos", interval=0.2)
        for machine in ("n2", "n3") if more == FOUR_WORKERS else ():
            wait_until(lambda here=machine: _has_worker(hosts, here), timeout=TIMEOUT_S, what=f"a worker on {machine}", interval=0.1)
        assert not has_record(store, name), "the job was complete before the fault"
        return submitted

    return submit_and_wait


@pytest.fixture(scope="module")
def expected(submit, store):
    """The tables of a run without faults."""
    wait_for_success(*submit("no-fault"))
    return results(store, "no-fault")


def _has_worker(hosts, machine: str) -> bool:
    """Return whether a worker of a stage runs on the machine."""
    return bool(hosts.run(machine, "pgrep", "-f", "^ray::MapWorker", check=False).stdout)


def test_the_work_of_a_disconnected_machine_is_repeated_in_less_than_rays_seven_minutes(submit_and_wait, hosts, store, expected):
    job, log = submit_and_wait("disconnect", *FOUR_WORKERS)
    hosts.disconnect("n3")
    try:
        wait_for_success(job, log, timeout=240)
    finally:
        hosts.reconnect("n3")  # the other tests need it
    assert_same_tables(results(store, "disconnect"), expected)
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="the reconnected machine", interval=2)


def test_work_moves_to_other_machines_when_a_disk_fills(submit_and_wait, full_disk, store, expected):
    job, log = submit_and_wait("disk-fills", *FOUR_WORKERS)
    full_disk()
    wait_for_success(job, log, timeout=TIMEOUT_S)
    assert "the disk is full" in log.read_text()
    assert_same_tables(results(store, "disk-fills"), expected)


def test_a_machine_with_a_full_disk_is_named_in_one_line(submit, full_disk, hosts, expected):
    full_disk()
    job, log = submit("disk-full", *FOUR_WORKERS)
    assert job.wait(timeout=TIMEOUT_S) != 0
    text = log.read_text()
    assert "Traceback" not in text
    assert re.search(rf"exit=5 error: {hosts.address('n3')}: .*No space left on device", text)


def test_a_job_resumes_after_a_kill_a_stop_and_the_loss_of_the_head(submit_and_wait, submit, cluster, hosts, store, expected):
    job, log = submit_and_wait("resume")
    hosts.run("n1", "pkill", "-KILL", "-f", "prepare_faces.py smoke")
    assert job.wait(timeout=TIMEOUT_S) != 0
    killed = outputs(store, "resume")

    job, log = submit_and_wait("resume")
    name = re.search(r"raysubmit_\w+", log.read_text())[0]
    hosts.run(CLIENT, "ray", "job", "stop", "--address", "http://127.0.0.1:8265", name, timeout=TIMEOUT_S)
    job.wait(timeout=TIMEOUT_S)
    assert "exit=130 stopped; finished items are kept" in log.read_text()
    stopped = outputs(store, "resume")

    job, log = submit_and_wait("resume")
    hosts.power_off("n1")
    job.terminate()
    job.wait(timeout=TIMEOUT_S)
    headless = outputs(store, "resume")
    hosts.boot("n1")
    cluster.up()
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="the workers of the new head", interval=2)
    assert not has_record(store, "resume")
    wait_for_success(*submit("resume"))

    done = outputs(store, "resume")
    assert done.items() >= headless.items() >= stopped.items() >= killed.items(), "a finished video was processed again"
    assert_same_tables(results(store, "resume"), expected)
