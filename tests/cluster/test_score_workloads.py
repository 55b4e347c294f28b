"""What the stages of baselines, predictions and annotated images compute."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import PAPER
from abaw_ray.cluster.machines.compute import LAPTOP
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.workloads import scores, videos
from abaw_ray.cluster.stages.workloads.scores import (
    annotated_images_workload,
    baseline_vectors_workload,
    baselines_workload,
    predictions_workload,
)
from abaw_ray.core.stage_store.record import Item
from abaw_ray.predict.estimate.cost import Totals

ROWS = [
    {"video": "a", "size": 300, "subjects": [{"track": "a_left"}, {"track": "a_right"}]},
    {"video": "b", "size": 100, "subjects": [{"track": "b"}]},
    {"video": "test", "size": 200, "subjects": [{"track": "test"}]},
]
LABELS = {"a_left": np.zeros(900, np.int8), "a_right": np.full(900, -1, np.int8), "b": np.ones(300, np.int8)}
ANNOTATIONS = SimpleNamespace(
    labels=LABELS, splits={"a_left": "train", "a_right": "train", "b": "val", "test": "test"}, example=[("test", frame) for frame in range(600)]
)


@pytest.fixture
def run(monkeypatch):
    """600 MB of videos, a frame per 1/30 s and 3 frames per MB."""
    for module in (scores, videos):
        monkeypatch.setattr(module, "videos", lambda run: {Item(name=row["video"], identity=""): row for row in ROWS})
        monkeypatch.setattr(module, "video_totals", lambda run: Totals(seconds=60, frames=1800, audio_s=60))
    monkeypatch.setattr(scores, "annotated", lambda run: ANNOTATIONS)
    config = replace(PAPER, compute=LAPTOP)
    return Run(config, RaySession(config.compute))


def test_vectors_of_baselines_are_two_a_second_of_each_annotated_person(run):
    every = baseline_vectors_workload(run, None)
    assert every.text == "140 faces, 2 a second"
    rest = baseline_vectors_workload(run, {Item(name="b", identity=""): {}})
    assert rest.text == "20 faces, 2 a second" and 0 < rest.cpu_s < every.cpu_s / 4


def test_a_regression_is_trained_on_the_same_share_of_the_labelled_frames(run):
    found = baselines_workload(run)
    assert found.text == "regressions on 60 frames" and found.parallel == 1
    assert found.cpu_s == pytest.approx(60 * scores._REGRESSION_ROW_MS / 1e3)


def test_predictions_are_passes_of_the_final_models_and_of_those_of_the_folds(run):
    found, sweep = predictions_workload(run), PAPER.sweep
    models = sweep.final_seeds * (5 * 300 + sweep.folds * 600)
    assert found.text == "300 frames and 600 of the test release"
    assert found.cpu_s == pytest.approx((models * scores._MODEL_FRAME_US + (6 * 300 + 600) * scores._LABELS_FRAME_US) / 1e6)


def test_on_a_gpu_models_are_arithmetic_and_repeats_of_the_folds_keep_no_model(run):
    config = replace(PAPER, compute=replace(LAPTOP, fusion=Resources(workers=2, gpus=0.5)), sweep=replace(PAPER.sweep, fold_repeats=3))
    found, plain = predictions_workload(Run(config, run.session)), predictions_workload(run)
    assert found.gflop > 0 == plain.gflop and found.cpu_s < plain.cpu_s / 10
    assert found.gflop == predictions_workload(Run(replace(config, sweep=PAPER.sweep), run.session)).gflop


def test_annotated_images_are_those_of_the_quotas_and_every_face_of_their_videos_is_read(run):
    every = annotated_images_workload(run, None)
    assert every.text == "1,200 images", "900 frames of one expression, 300 of another"
    assert every.cpu_s == pytest.approx(((2 * 1800 + 300) * scores._SCANNED_US + 1200 * scores._IMAGE_US) / 1e6), "both people of a video"
    assert annotated_images_workload(run, {Item(name="b", identity=""): {}}).text == "300 images"
