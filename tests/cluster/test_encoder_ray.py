"""Stage I on a local Ray with two workers, of which one is killed twice, gives the model of the same training in this process."""

import contextlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from event_files import read_scalars
from node_metrics import metrics_collected, metrics_polled, wait_for_metrics
from reference_training import SHARDS, ReferenceTraining, write_shards
from synthetic_images import CONFIG

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.training.checkpoints.meta import fraction_trained
from abaw_ray.cluster.training.job import RankJob
from abaw_ray.cluster.training.ranks.rank_errors import first_error
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core.errors import ConfigError, DataError, StageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.checkpoint import load_encoder

pytestmark = pytest.mark.slow

SETTINGS = replace(CONFIG, epochs=6, zero_stage=2, moe=replace(CONFIG.moe, aux_loss_weight=0.01))
ITEM = Item(name="run", identity="synthetic")
TAGS = "stage=encoder,run=disturbed"
"""Tags of the training's metrics."""


def step_of(values):
    """The step of these exported metrics."""
    return values[f"abaw_ray_training_step{{{TAGS}}}"]


def figures_of(values):
    """The figures of the training in these exported metrics, without the step."""
    names = {name: f"abaw_ray_training_{name}{{{TAGS}}}" for name in ("loss", "learning_rate", "gradient_norm")}
    return {name: values[key] for name, key in names.items() if key in values}


def title(process):
    """The first word of a process's command line; empty if it has just ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "".join(process.cmdline()[:1])
    return ""


def kill_a_worker():
    """Kill one of the training workers of this process's Ray; returns their number before."""
    workers = [child for child in psutil.Process().children(recursive=True) if "TrainWorker" in title(child)]
    workers[-1].kill()
    return len(workers)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Store of the encoder, with the shards of images beside it."""
    storage = Storage(StorageConfig(uri=str(tmp_path_factory.mktemp("encoder"))))
    write_shards(storage)
    return StageStore(storage, "encoder", SETTINGS, 1)


def compute(workers, **more):
    """Settings of a training with this many workers."""
    return ComputeConfig(object_store_mb=80, training=Resources(workers=workers), preemption_poll_s=0, **more)


@pytest.fixture(scope="module")
def session():
    """A started Ray with two CPUs."""
    with metrics_collected(), RaySession(compute(2)) as session:
        session.start()
        yield session


@pytest.fixture(scope="module")
def disturbed(store, session, tmp_path_factory):
    """Metrics, reports, messages of a run with a preemption notice in its first epoch; two epochs later it loses a worker, and then another.

    The ranks report every four steps; the last value is what the node exported for Prometheus meanwhile.
    """
    reports, messages, killed, notices = [], [], [], tmp_path_factory.mktemp("notices")
    fractions = {}

    def preempted_nodes():  # each rank of the first group gets the notice once
        noticed = len(list(notices.iterdir()))
        (notices / f"{os.getpid()}").touch()
        return frozenset({"a node"} if noticed < 2 else ())

    def on_report(report):
        reports.append(report)
        if "epoch" in report:
            fractions[report["epoch"]] = fraction_trained(store, ITEM)
        if report.get("epoch") in (2, 3) and len(killed) == report["epoch"] - 2:
            killed.append(kill_a_worker())

    with pytest.MonkeyPatch.context() as patch, metrics_polled() as exported:
        patch.setattr("abaw_ray.cluster.training.trainer.RankJob", partial(RankJob, min_report_interval_s=0.0))
        metrics = train_encoder(
            store=store,
            item=ITEM,
            shards=SHARDS,
            config=SETTINGS,
            compute=compute(2, log_every_n_steps=4),
            run_id="disturbed",
            on_report=on_report,
            on_wait=messages.append,
            preempted_nodes=preempted_nodes,
        )
    assert killed == [2, 2]
    assert all(epoch / 6 <= fraction <= 1 for epoch, fraction in fractions.items() if epoch < 6), fractions
    return metrics, reports, messages, exported


def test_a_lost_worker_costs_no_finished_epoch_and_every_epoch_is_reported(disturbed):
    metrics, reports, *_ = disturbed
    epochs = [report["epoch"] for report in reports if "epoch" in report]
    assert [row["epoch"] for row in metrics["curve"]] == [1, 2, 3, 4, 5, 6]
    assert sorted(set(epochs)) == [1, 2, 3, 4, 5, 6]
    assert epochs.count(1) == 1 and len(epochs) <= 6 + 2, "a failure repeats at most the epoch whose checkpoint was not complete"


def test_a_preempted_node_costs_no_step(disturbed):
    steps = [report["step"] for report in disturbed[1] if "preempted_nodes" in report]
    assert steps == [1], "the training continues at once on other machines, and the notice is handled once"


def test_every_failure_is_said_with_what_follows(disturbed):
    failures = [message for message in disturbed[2] if "failure" in message]
    assert len(failures) == 2 == len(disturbed[2])
    assert all(message.startswith("the training failed") and "(failure 1, at most 3 without a new checkpoint)" in message for message in failures)


def test_two_workers_with_two_failures_train_the_model_of_one_process(store, disturbed, tmp_path):
    reference, vectors = ReferenceTraining(SETTINGS, store.storage, tmp_path), []
    for row, (loss, metrics, epoch_vectors) in zip(disturbed[0]["curve"], reference.epochs(), strict=True):
        vectors.append(epoch_vectors)
        assert row["loss"] == pytest.approx(loss, rel=1e-6)
        assert row["val_images"] == metrics["val_images"] == 31
        assert row["val_loss"] == pytest.approx(metrics["val_loss"], rel=1e-6)
    task, model = reference.task, reference.model
    model.encoder = load_encoder(Path(store.storage.uri(f"{store.output(ITEM, '')}/encoder")))
    distances = [np.abs(task.vectors(model, task.val) - each).max() for each in vectors]
    assert int(np.argmin(distances)) + 1 == disturbed[0]["selection"]["epoch"], "the saved encoder is that of the selected epoch"
    assert min(distances) < 2e-5 < 0.02 < sorted(distances)[1], "vectors of about 1; two ranks add gradients in another order"


def test_the_events_have_every_step_once_in_spite_of_two_failures(store, disturbed):
    folder = f"{store.output(ITEM, '')}/tensorboard"
    losses = [step for tag, step, _, _ in read_scalars(store.storage, folder) if tag == "train/loss"]
    epochs = [step for tag, step, _, _ in read_scalars(store.storage, folder) if tag == "macro_f1/even"]
    assert losses == list(range(1, 37))
    assert epochs == list(range(6, 37, 6))


def test_the_node_exports_the_figures_of_the_latest_steps_also_after_the_failures(store, disturbed):
    events = read_scalars(store.storage, f"{store.output(ITEM, '')}/tensorboard")
    curves = {name: {step: value for tag, step, value, _ in events if tag == f"train/{name}"} for name in ("loss", "learning_rate", "grad_norm")}
    assert curves["grad_norm"].keys() == set(range(1, 37)), "with ZeRO 2 every step has one"
    averaged = sorted({1, *range(4, 37, 4), *range(6, 37, 6)})  # at a checkpoint within an epoch, every four steps, at the end of an epoch
    wanted = {
        step: {
            "loss": np.mean([curves["loss"][each] for each in range(before + 1, step + 1)]),
            "learning_rate": curves["learning_rate"][step],
            "gradient_norm": curves["grad_norm"][step],
        }
        for before, step in pairwise([0, *averaged])
    }
    with_step = [values for values in disturbed[3] if values.get(f"abaw_ray_training_step{{{TAGS}}}") in wanted]
    # Not in every poll: some mix the values of two steps, or of a killed rank and of its successor.
    right = {step_of(values) for values in with_step if figures_of(values) == pytest.approx(wanted[step_of(values)], abs=1e-4)}
    assert len(right) > 1 and max(right) > 18, (right, with_step)  # the second failure is after step 18
    assert any(values.get(f"abaw_ray_training_images_per_second{{{TAGS}}}", 0) > 0 for values in with_step)


def test_the_node_exports_how_long_each_rank_has_waited_for_data(disturbed):
    waits = [f"abaw_ray_training_data_wait_seconds_total{{{TAGS},rank={rank}}}" for rank in (0, 1)]
    values = wait_for_metrics(lambda values: all(name in values for name in waits))  # counters stay when their process has ended
    assert all(values[name] > 0 for name in waits)


def test_steps_within_an_epoch_are_reported(disturbed):
    steps = [report for report in disturbed[1] if "seconds_left" in report]
    assert {report["step"] for report in steps} == set(range(4, 37, 4))
    assert all(report["total_steps"] == 36 and report["grad_norm"] > 0 for report in steps)


def test_the_metrics_are_those_of_the_selected_epoch(disturbed):
    metrics = disturbed[0]
    selection, scores = metrics["selection"], [row["mean_macro_f1"] for row in metrics["curve"]]
    assert selection["best_epoch"] == selection["epoch"] == metrics["epoch"] == scores.index(max(scores)) + 1
    assert metrics["data_sets"] == metrics["curve"][selection["epoch"] - 1]["data_sets"]
    assert metrics["probe"]["data_sets"]["even"]["images"] == 16


def test_the_output_holds_the_encoder_and_its_curve_and_the_checkpoints_are_deleted(store, disturbed):
    assert store.finished([ITEM]) == {"run": store.output(ITEM, "")}
    folder = Path(store.storage.uri(store.output(ITEM, "")))
    encoder = load_encoder(folder / "encoder")
    assert encoder(torch.zeros(2, 3, 28, 28, dtype=torch.uint8)).shape == (2, 32)
    assert json.loads((folder / "curve.json").read_text()) == disturbed[0]["curve"]
    assert store.storage.files(f"{store.path}/runs", recursive=True) == {}


def test_a_finished_run_is_not_trained_again(store, disturbed, monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.training.trainer._fit", lambda *_: pytest.fail("trained again"))
    again = train_encoder(store=store, item=ITEM, shards=SHARDS, config=SETTINGS, compute=compute(2))
    assert again == json.loads(json.dumps(disturbed[0]))


def test_an_error_that_a_retry_cannot_fix_is_raised_unchanged(store, session):
    with pytest.raises(ConfigError, match="multiple of 3"):
        train_encoder(store=store, item=Item(name="x", identity="3"), shards=SHARDS, config=SETTINGS, compute=compute(3))
    missing = replace(SETTINGS, model=replace(SETTINGS.model, weights="/nowhere/weights.safetensors"))
    with pytest.raises(ConfigError, match=r"model\.weights=/nowhere/weights\.safetensors: there is no such file"):
        train_encoder(store=store, item=Item(name="y", identity="4"), shards=SHARDS, config=missing, compute=compute(1))
    diverging = replace(SETTINGS, optim=replace(SETTINGS.optim, lr=1e38))
    with pytest.raises(StageError, match=r"loss is not finite by step 6; lower encoder\.optim\.lr=1e\+38"):
        train_encoder(store=store, item=Item(name="z", identity="5"), shards=SHARDS, config=diverging, compute=compute(1))


def test_the_error_of_one_rank_is_returned_on_all():
    errors, rows_of, barrier = [None, DataError("model.weights=/models/vit.pt: no such file")], {}, threading.Barrier(2)

    def on_rank(rank):
        def mean(values):
            rows_of[rank] = values
            barrier.wait()
            return (rows_of[0] + rows_of[1]) / 2

        return first_error(errors[rank], rank=rank, world_size=2, mean_over_ranks=mean)

    for wanted in (["DataError"] * 2, ["NoneType"] * 2):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(on_rank, range(2)))
        assert [type(error).__name__ for error in found] == wanted
        assert [str(error) for error in found] == [str(errors[1])] * 2
        errors[1] = None
