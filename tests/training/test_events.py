import pytest
from event_files import read_scalars

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.training.events import EventLog


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "store")))


def scalars(storage):
    return read_scalars(storage, "run/tensorboard")


def log_of(storage, step):
    return EventLog(storage, "run/tensorboard", step)


def take_steps(log, start, stop, loss):
    for step in range(start, stop):
        log.add("train/loss", loss, step + 1, moment=100.0 + step)
    log.upload(stop)


def test_event_files_have_the_tags_steps_values_and_times(storage):
    log = log_of(storage, 0)
    take_steps(log, 0, 2, 0.5)
    log.add("macro_f1/RAF-DB", 0.25, 4, moment=200.0)
    log.upload(4)
    assert scalars(storage) == [("train/loss", 1, 0.5, 100.0), ("train/loss", 2, 0.5, 101.0), ("macro_f1/RAF-DB", 4, 0.25, 200.0)]
    assert all("tfevents" in name for name in storage.files("run/tensorboard"))


def test_a_resumed_run_replaces_the_steps_that_it_takes_again_and_loses_none(storage):
    log = log_of(storage, 0)
    take_steps(log, 0, 3, 0.9)
    take_steps(log, 3, 6, 0.8)  # uploaded, but the run ended before its checkpoint was complete
    resumed = log_of(storage, 3)
    take_steps(resumed, 3, 5, 0.7)
    take_steps(resumed, 5, 12, 0.6)
    found = scalars(storage)
    assert [step for _, step, _, _ in found] == list(range(1, 13))
    assert [value for _, _, value, _ in found] == [0.9] * 3 + [0.7] * 2 + [0.6] * 7


def test_a_run_from_the_start_deletes_the_files_of_an_earlier_one(storage):
    take_steps(log_of(storage, 0), 0, 3, 0.9)
    take_steps(log_of(storage, 3), 3, 6, 0.9)
    take_steps(log_of(storage, 0), 0, 6, 0.1)
    assert [value for _, _, value, _ in scalars(storage)] == [0.1] * 6
