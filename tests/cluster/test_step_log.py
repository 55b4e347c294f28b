"""Figures of a rank's steps: when they are written and reported, and over which steps."""

import pytest
import torch
from event_files import read_scalars

from abaw_ray.cluster.training.ranks.step_log import StepLog, StepLogConfig
from abaw_ray.core.errors import StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.training.config import OptimConfig
from abaw_ray.training.events import EventLog

OPTIM = OptimConfig(lr=1e-2, warmup_ratio=0.5, min_lr_ratio=0.0)


class RecordedMetrics:
    """Takes the place of a rank's metrics, which need Ray."""

    def __init__(self):
        self.figures, self.data_wait_s = [], []

    def set_figures(self, figures):
        self.figures.append(figures)

    def add_data_wait(self, seconds):
        self.data_wait_s.append(seconds)


class Clock:
    """Takes the place of ``time``: a second passes with every step."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def time(self):
        return 1000.0 + self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("abaw_ray.cluster.training.ranks.step_log.time", clock)
    return clock


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path)))


def log_of(storage, *, every=2, min_interval=0.0, reports=None, first=0):
    """A log of 20 steps with 4 images each; the other rank's loss is larger by 1, and it waits as long as this one."""
    config = StepLogConfig(optim=OPTIM, total_steps=20, global_batch_size=4, log_every_n_steps=every, min_report_interval_s=min_interval)

    def mean(values):
        other = values.clone()
        other[:-2] += 1.0
        return (values + other) / 2

    reports = [] if reports is None else reports
    return StepLog(config, mean, reports.append, RecordedMetrics(), EventLog(storage, "tensorboard", first))


def take(log, clock, steps, *, grad_norm=2.0, seconds=1.0):
    """Take these steps; the loss of each is its number."""
    for step in steps:
        log.add_data_wait(0.25)
        clock.now += seconds
        log.add(torch.tensor(float(step)), None if grad_norm is None else torch.tensor(grad_norm * step))
        log.after(step)


def test_every_few_steps_are_reported_with_their_mean_loss_and_their_rate(storage, clock):
    reports = []
    take(log_of(storage, reports=reports), clock, range(1, 6))
    assert [report["step"] for report in reports] == [2, 4]
    assert [report["loss"] for report in reports] == [2.0, 4.0], "the mean of steps 3 and 4 and of both ranks"
    last = reports[-1]
    assert (last["images_per_second"], last["data_wait_s"], last["grad_norm"], last["total_steps"]) == (4.0, 0.25, 8.0, 20)
    assert last["seconds_left"] == 16.0
    assert last["learning_rate"] == pytest.approx(1e-2 * 4 / 10)


def test_the_peak_of_the_gpu_memory_is_reported_and_an_event_where_there_is_a_gpu(storage, clock, monkeypatch):
    reports = []
    take(log_of(storage, reports=reports), clock, range(1, 3))
    assert reports[-1]["gpu_memory_gib"] is None
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 3 << 30)
    log = log_of(storage, reports=reports)
    take(log, clock, range(1, 3))
    log.upload_events(2)
    assert reports[-1]["gpu_memory_gib"] == 3.0
    assert [(step, value) for tag, step, value, _ in read_scalars(storage, "tensorboard") if tag == "train/gpu_memory_gib"] == [(2, 3.0)]


def test_reports_are_at_least_an_interval_of_training_apart_and_cover_all_steps_between_them(storage, clock):
    reports = []
    take(log_of(storage, reports=reports, min_interval=5.0), clock, range(1, 14))
    assert [report["step"] for report in reports] == [6, 12]
    assert [report["loss"] for report in reports] == [4.0, 10.0]


def test_metrics_are_set_every_few_steps_also_between_reports(storage, clock):
    log = log_of(storage, min_interval=1000.0)
    take(log, clock, range(1, 5))
    assert [(figures["step"], figures["loss"]) for figures in log._metrics.figures] == [(2, 2.0), (4, 4.0)]
    assert log._metrics.data_wait_s == [0.5, 0.5]


def test_validation_and_checkpoints_are_no_part_of_the_rate(storage, clock):
    reports = []
    log = log_of(storage, reports=reports)
    take(log, clock, [1])
    assert log.sum(1) == 1.5
    clock.now += 100.0
    log.resume()
    take(log, clock, [2])
    assert reports[-1]["images_per_second"] == 4.0
    assert log.sum(2) == 2.5


def test_the_sum_over_an_epoch_does_not_depend_on_how_often_figures_are_written(storage, clock):
    sums = []
    for every in (0, 1, 3, 7):
        log = log_of(storage, every=every)
        take(log, clock, range(1, 9))
        sums.append(log.sum(8))
    assert sums == [sum(range(1, 9)) + 4.0] * 4


def test_without_an_interval_nothing_is_reported_and_the_events_are_complete(storage, clock):
    reports = []
    log = log_of(storage, every=0, reports=reports)
    take(log, clock, range(1, 5))
    assert not reports
    assert log.sum(4) == 12.0
    log.upload_events(4)
    assert [step for tag, step, _, _ in read_scalars(storage, "tensorboard") if tag == "train/loss"] == [1, 2, 3, 4]


def test_the_events_have_every_step_once_with_its_gradient_norm_and_continue_after_a_checkpoint(storage, clock):
    log = log_of(storage)
    take(log, clock, range(1, 6))
    log.sum(5)
    log.upload_events(5)
    resumed = log_of(storage, first=5)
    take(resumed, clock, range(6, 9))
    resumed.sum(8)
    resumed.upload_events(8)
    found = {}
    for tag, step, value, _ in read_scalars(storage, "tensorboard"):
        found.setdefault(tag, []).append((step, value))
    assert found["train/loss"] == [(step, step + 0.5) for step in range(1, 9)]
    assert found["train/grad_norm"] == [(step, 2.0 * step) for step in range(1, 9)]
    assert [step for step, _ in found["train/learning_rate"]] == list(range(1, 9))
    assert found["train/images_per_second"] == [(step, 4.0) for step in (2, 4, 5, 6, 8)]


def test_a_gradient_norm_that_is_not_computed_is_no_value(storage, clock):
    reports = []
    log = log_of(storage, reports=reports)
    take(log, clock, [1, 2], grad_norm=None)
    log.upload_events(2)
    assert reports[0]["grad_norm"] is None
    assert not [tag for tag, *_ in read_scalars(storage, "tensorboard") if tag == "train/grad_norm"]


def test_a_loss_that_is_not_finite_ends_the_training_before_the_epoch_does(storage, clock):
    log = log_of(storage)
    log.add(torch.tensor(float("inf")), None)
    log.after(1)
    log.add(torch.tensor(1.0), None)
    with pytest.raises(StageError, match=r"loss is not finite by step 2; lower encoder\.optim\.lr=0\.01 or raise"):
        log.after(2)
