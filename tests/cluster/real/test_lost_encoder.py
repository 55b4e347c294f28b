"""Faults of machines and jobs while the encoder is trained: the driver dies, a disk is full, a machine is disconnected, the head is lost.

One training meets them one after the other; the same command continues it from its last checkpoint each time. The tests depend on their order.
"""

import json
import re

import pytest
from timeouts import TIMEOUT_S

from tools.clusters.namespaces.clusters import SMALL_COMPUTE, alive_workers, has_record, wait_for_success, wait_until

EPOCHS = 40
"""Enough to be interrupted four times."""
TRAIN = ["python", "jobs/train_encoder.py", "smoke", "--cluster-size", "cpu-2", *SMALL_COMPUTE, "--encoder.epochs", str(EPOCHS)]
TRAIN += ["--compute.training.cpus", "2", "--compute.recovery.wait-minutes", "0.1"]
"""Two ranks with two CPUs each: one on each machine."""


class Training:
    """A training that is submitted again and again."""

    def __init__(self, cluster, store):
        self.cluster, self.store = cluster, store
        self.epoch, self.submitted = 0, 0
        self.job = self.log = None

    def submit(self):
        """Submit the command and wait for an epoch; it must be one that follows a checkpoint of the last job."""
        self.log = self.cluster.hosts.state / f"encoder-{self.submitted}.log"
        where = ["--storage", "s3://abaw/encoder-faults", "--data.synthetic-dir", "s3://abaw/synthetic", *self.store.options]
        self.job = self.cluster.submit(*TRAIN, *where, log=self.log)
        self.submitted += 1
        wait_until(self._epochs, timeout=TIMEOUT_S, what="an epoch", log=self.log)
        assert self._epochs()[0] >= self.epoch, "a finished epoch was trained again, though its checkpoint was complete"
        assert self._epochs()[0] > 1 or self.submitted == 1

    def train_on(self):
        """Wait for two more epochs, the first of which then has its checkpoint."""
        start = self._epochs()[-1]
        wait_until(lambda: self._epochs()[-1] >= start + 2, timeout=TIMEOUT_S, what="two more epochs", log=self.log)
        self.epoch = self._epochs()[-1]
        assert not has_record(self.store, "encoder-faults", "encoder"), "the training was complete before the fault"

    def _epochs(self) -> list[int]:
        return [int(number) for number in re.findall(rf"epoch (\d+) of {EPOCHS}", self.log.read_text())]


@pytest.fixture(scope="module")
def training(cluster, store):
    wait_until(lambda: alive_workers(cluster.hosts) == 2, timeout=TIMEOUT_S, what="the workers", interval=1)
    return Training(cluster, store)


def test_a_training_whose_job_is_killed_continues(training, hosts):
    training.submit()
    training.train_on()
    hosts.run("n1", "pkill", "-KILL", "-f", "train_encoder.py smoke")
    assert training.job.wait(timeout=TIMEOUT_S) != 0
    training.submit()


def test_a_full_disk_ends_the_training_with_one_line_and_it_continues_when_there_is_space(training, full_disk):
    training.train_on()
    full_disk()
    assert training.job.wait(timeout=TIMEOUT_S) != 0
    text = training.log.read_text()
    assert "Traceback" not in text
    assert re.search(r"exit=4 error: n3: /tmp/ray: .*the disk is full: free space there", text), text[-2000:]


def test_a_training_continues_without_a_disconnected_machine(training, hosts):
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="both machines", interval=2)
    training.submit()
    training.train_on()
    assert "starts with 1 of 2 workers" not in training.log.read_text(), "it began with one machine"
    hosts.disconnect("n3")
    wait_until(lambda: "starts with 1 of 2 workers" in training.log.read_text(), timeout=TIMEOUT_S, what="the start with one rank", log=training.log)
    training.train_on()
    hosts.reconnect("n3")
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="the reconnected machine", interval=2)


def test_a_training_continues_after_the_loss_of_the_head(training, hosts, cluster, store):
    training.train_on()
    hosts.power_off("n1")
    training.job.terminate()
    training.job.wait(timeout=TIMEOUT_S)
    hosts.boot("n1")
    cluster.up()
    wait_until(lambda: alive_workers(hosts) == 2, timeout=TIMEOUT_S, what="the workers of the new head", interval=2)
    training.submit()
    wait_for_success(training.job, training.log)
    (key,) = (key for key in store.list_objects("encoder-faults/encoder/") if key.endswith("/curve.json"))
    curve = json.loads(store.read(key))
    assert [row["epoch"] for row in curve] == list(range(1, EPOCHS + 1)), "each epoch counts once"
    assert {row["workers"] for row in curve} == {1, 2}
