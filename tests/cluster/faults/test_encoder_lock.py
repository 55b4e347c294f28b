"""Stage I under the writer lock of its store: a training whose lock was taken over by another run ends, with the processes of its ranks."""

import contextlib
import time
from dataclasses import replace

import psutil
import pytest
from reference_training import SHARDS, write_shards
from synthetic_images import CONFIG
from timeouts import TIMEOUT_S

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core.errors import BusyError
from abaw_ray.core.stage_store import lock
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.lock_file import lock_file
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SETTINGS = replace(CONFIG, epochs=1000)
"""More epochs than the test waits for."""
COMPUTE = ComputeConfig(object_store_mb=80, training=Resources(workers=2), preemption_poll_s=0)
OTHER = {"owner": "other", "host": "elsewhere", "machine": "elsewhere", "pid": 7, "started": 0.0}


@pytest.fixture
def store(tmp_path):
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    write_shards(storage)
    return StageStore(storage, "encoder", SETTINGS, 1)


def ranks():
    """Number of ranks that are children of this process."""
    found = 0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += "TrainWorker" in "".join(child.cmdline()[:1])
    return found


def test_a_training_whose_lock_is_taken_over_ends_with_its_ranks(store, interrupts, monkeypatch):
    monkeypatch.setattr(lock, "_HEARTBEAT_INTERVAL", 0.2)
    trained, running = [], []

    def take_over_after_an_epoch(report):
        trained.append(report)
        if report.get("epoch") == 1:
            running.append(ranks())
            file = lock_file(store.storage, f"{store.path}/writer.json")
            while file.write({**OTHER, "heartbeat": time.time()}, file.read()[1]) is None:  # a renewal between both calls
                pass

    with RaySession(COMPUTE) as session:
        session.start(COMPUTE.training, gang=True)
        with pytest.raises(BusyError, match="process 7 on elsewhere has taken over"), writer_lock(store.storage, store.path):
            train_encoder(
                store=store,
                item=Item(name="run", identity="lost"),
                shards=SHARDS,
                config=SETTINGS,
                compute=COMPUTE,
                on_report=take_over_after_an_epoch,
            )
        deadline = time.monotonic() + TIMEOUT_S
        while ranks():
            assert time.monotonic() < deadline, "the ranks train on"
            time.sleep(0.2)
    assert running == [2]
    assert max(report.get("epoch", 0) for report in trained) < 1000
