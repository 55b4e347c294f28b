"""Curves of a run as event files in its folder: of trainings over the steps, of item stages over time."""

import time

import pytest
from event_files import read_scalars

from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.cluster.stages.stage_one.training_reports import TrainingReports
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

FOLDER = "runs/20260101-000000-ab12/tensorboard"
STEPS = {
    "total_steps": 400,
    "loss": 1.25,
    "learning_rate": 2e-5,
    "grad_norm": 0.5,
    "images_per_second": 256.0,
    "data_wait_s": 0.125,
    "gpu_memory_gib": 21.5,
}


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "store"), attempts=1))


def curves(storage, name):
    """Steps and values of each curve of a stage or training."""
    found = {}
    for tag, step, value, _ in read_scalars(storage, f"{FOLDER}/{name}"):
        found.setdefault(tag, []).append((step, value))
    return found


def test_a_training_has_its_curves_over_the_steps_also_where_it_resumes(storage):
    events = RunEvents()
    with events.uploaded(storage, FOLDER):
        reports = TrainingReports("cv 0/a", events)
        for step in (150, 200):  # resumed from a checkpoint after step 100
            reports(STEPS | {"step": step, "loss": step / 100, "seconds_left": 60.0})
        reports(STEPS | {"step": 250, "grad_norm": None, "seconds_left": 60.0})
        reports({"step": 260, "total_steps": 400, "preempted_nodes": 0})
    assert storage.files(FOLDER, recursive=True).keys() == {"cv_0_a/events.out.tfevents.0000000000.abaw_ray"}
    found = curves(storage, "cv_0_a")
    assert found["train/loss"] == [(150, 1.5), (200, 2.0), (250, 1.25)]
    assert found["train/grad_norm"] == [(150, 0.5), (200, 0.5)]
    assert found["train/images_per_second"] == [(step, 256.0) for step in (150, 200, 250)]
    assert found["train/data_wait_s"] == [(step, 0.125) for step in (150, 200, 250)]
    assert found["train/gpu_memory_gib"] == [(step, 21.5) for step in (150, 200, 250)]
    assert [step for step, _ in found["train/learning_rate"]] == [150, 200, 250]


def test_an_epoch_adds_its_loss_and_its_validation_scores_at_its_last_step(storage):
    names = ("macro_f1", "mean_macro_f1", "accuracy", "val_loss", "router_choice_entropy", "router_load_entropy")
    scores = dict.fromkeys(names, 0.5) | {
        "per_class": {"Anger": 0.25},
        "data_sets": {"RAF-DB": {"macro_f1": 0.75, "accuracy": 0.8}},
        "router_use": [1.0],
    }
    epoch = {"epoch": 1, "epochs": 2, "loss": 1.0, "images_per_second": 3.0, "steps": 120}
    events = RunEvents()
    with events.uploaded(storage, FOLDER):
        TrainingReports("encoder", events)(epoch | scores)
    found = curves(storage, "encoder")
    assert found["macro_f1/RAF-DB"] == [(120, 0.75)]
    assert found["val/loss"] == [(120, 0.5)]
    assert found["train/epoch_loss"] == [(120, 1.0)], "the only curve of the loss where a training is too short for lines"


def test_an_item_stage_has_its_throughput_and_its_failures_over_time(storage):
    clock, events = [0.0], RunEvents()
    with events.uploaded(storage, FOLDER):
        metrics = ItemMetrics("faces", "run", events, items=4, on_ray=False, clock=lambda: clock[0])
        with metrics.last_point_added():
            for seconds, outcome in ((4.0, "done"), (8.0, "lost"), (16.0, "done"), (20.0, "failed"), (24.0, "done")):
                clock[0] = seconds
                metrics.add_figures({"frames": 80, "rows": 160, "people": 2} if outcome == "done" else {})
                metrics.add_ended(outcome)
                metrics.update_curves()
    found = curves(storage, "faces")
    assert found["items/items_per_second"] == [(2, 0.125), (4, 0.25)]
    assert found["items/frames_per_second"] == [(2, 10.0), (4, 10.0)]
    assert found["items/rows_per_second"] == [(2, 20.0), (4, 20.0)]
    assert found["items/items_remaining"] == [(2, 2.0), (4, 0.0)]
    assert found["items/items_failed"] == [(2, 0.0), (4, 1.0)]
    assert found["items/items_lost"] == [(2, 1.0), (4, 1.0)]
    assert "items/people_per_second" not in found


def test_the_files_grow_in_the_storage_while_the_run_goes_on(storage):
    events = RunEvents()
    with events.uploaded(storage, FOLDER, interval_s=0.05):
        for step in (1, 2):
            events.add("encoder", {"train/loss": float(step)}, step)
            deadline = time.monotonic() + 10
            while len(curves(storage, "encoder").get("train/loss", [])) < step:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        events.add("encoder", {"train/loss": float("nan"), "train/grad_norm": 3.0}, 3)
    assert curves(storage, "encoder") == {"train/loss": [(1, 1.0), (2, 2.0)], "train/grad_norm": [(3, 3.0)]}


def test_scalars_outside_of_a_recorded_run_are_discarded(storage):
    events = RunEvents()
    events.add("encoder", {"train/loss": 1.0}, 1)
    with events.uploaded(storage, FOLDER):
        events.add("encoder", {"train/loss": 2.0}, 2)
    events.add("encoder", {"train/loss": 3.0}, 3)
    assert curves(storage, "encoder") == {"train/loss": [(2, 2.0)]}


def test_a_storage_that_cannot_be_written_does_not_disturb_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    events = RunEvents()
    with events.uploaded(Storage(StorageConfig(uri=str(tmp_path / "file" / "store"), attempts=1)), FOLDER):
        events.add("encoder", {"train/loss": 1.0}, 1)
    assert (tmp_path / "file").read_text() == ""


def test_the_error_that_ends_a_run_is_raised_after_its_curves_are_written(storage):
    events = RunEvents()

    def run():
        with events.uploaded(storage, FOLDER):
            events.add("encoder", {"train/loss": 1.0}, 1)
            raise ValueError("the end")

    with pytest.raises(ValueError, match="the end"):
        run()
    assert curves(storage, "encoder") == {"train/loss": [(1, 1.0)]}
