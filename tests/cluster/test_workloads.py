"""What the stages compute: arithmetic of the encoder and of features, counted faces, and encoders per fold."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.launch.presets import PAPER, SMOKE, search_presets
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER, describe
from abaw_ray.cluster.stages.workloads import encoder, videos
from abaw_ray.cluster.stages.workloads.encoder import (
    encoder_gflop,
    features_workload,
    images_workload,
    search_workload,
    training_workload,
)
from abaw_ray.cluster.training.checkpoints.meta import META_FILE, CheckpointMeta, checkpoint_folder
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.search.config import EncoderSearchConfig
from abaw_ray.predict.estimate.cost import Totals


def run_of(config: RunConfig) -> Run:
    return Run(config, RaySession(config.compute))


@pytest.fixture(scope="module")
def paper():
    """A run of the paper's settings; its arithmetic is computed once."""
    return run_of(PAPER)


def test_the_encoder_of_the_paper_has_its_published_arithmetic_without_its_weights(paper):
    assert encoder_gflop(paper) == pytest.approx(162, rel=0.02)


def test_a_saved_encoder_has_the_arithmetic_of_its_architecture(model):
    shape = replace(SMOKE.encoder, path=str(model))
    small = encoder_gflop(run_of(replace(SMOKE, encoder=shape)))
    assert 0 < small < encoder_gflop(run_of(SMOKE)), "28 pixels instead of 70"


def test_a_training_is_three_forward_passes_of_each_image_and_four_where_activations_are_recomputed(paper):
    gflop = encoder_gflop(paper)
    plain = training_workload(paper, train=1000, val=100, epochs=2)
    assert plain.training_gflop == pytest.approx(3 * 2000 * gflop) and plain.gflop == pytest.approx(200 * gflop)
    again = replace(PAPER, compute=replace(PAPER.compute, recompute_activations=True))
    assert training_workload(run_of(again), train=1000, val=100, epochs=2).training_gflop == pytest.approx(4 * 2000 * gflop)
    several = training_workload(paper, train=1000, val=100, epochs=2, trainings=6)
    assert several.text == "6 trainings of 2 epochs over 1,000 images" and several.training_gflop == pytest.approx(6 * plain.training_gflop)
    rest = training_workload(paper, train=1000, val=100, epochs=2, trainings=6, done=1.5)
    assert rest.text == "6 trainings of 2 epochs over 1,000 images, 25% already done"
    assert rest.training_gflop == pytest.approx(4.5 * plain.training_gflop) and rest.gflop == pytest.approx(4.5 * plain.gflop)


def test_of_an_interrupted_training_the_plan_counts_what_its_checkpoint_does_not_contain(tmp_path):
    run = run_of(replace(SMOKE, storage=StorageConfig(uri=str(tmp_path))))
    images = {"rows": 400, "data_sets": {"affectnet": {"train": 300, "val": 100}}}
    made = {"stage": "images", "store": "images/0", "outputs": {}, "failures": [], "settings": {}, "inputs": [], "seconds": 1.0, "revision": 1}
    run.records["images"] = Record(**made, figures=images)
    whole, text = TRAIN_ENCODER.workloads(run, None)[0], describe(run)
    (item,) = TRAIN_ENCODER.items(run)
    meta = CheckpointMeta(world_size=1, step=3, total_steps=4).to_json()
    run.storage.write_bytes(f"{checkpoint_folder(TRAIN_ENCODER.store(run), item)}/checkpoint_2026-11-30_10-00-00/{META_FILE}", meta.encode())
    run.cache.clear()
    rest = TRAIN_ENCODER.workloads(run, None)[0]
    assert rest.training_gflop == pytest.approx(whole.training_gflop / 4) and rest.cpu_s == pytest.approx(whole.cpu_s / 4)
    assert describe(run) == f"{text}, 75% already done"


def test_a_search_counts_the_epochs_that_the_trials_which_have_not_ended_take_together(paper):
    search = EncoderSearchConfig(trials=16, images=1000, epochs=6, grace_epochs=1, reduction=3)
    run = run_of(search_presets()["paper"][1])
    run = replace(run, config=replace(run.config, search=search))
    epoch = training_workload(paper, train=1000, val=100, epochs=1)
    whole = search_workload(run, 5000, 100, [])
    assert whole.training_gflop == pytest.approx(40 * epoch.training_gflop) and whole.gflop == pytest.approx(40 * epoch.gflop)
    assert whole.text == "16 trials of up to 6 epochs over 1,000 images, about 40 epochs in all"
    assert whole.parallel == 6, "more workers do not make it shorter than the epochs of the best trial"
    assert search_workload(run, 500, 100, []).training_gflop == pytest.approx(whole.training_gflop / 2)
    poor = search_workload(run, 5000, 100, [1] * 9 + [3] * 4)
    assert poor.training_gflop == pytest.approx((40 - 9 - 12) * epoch.training_gflop), "the three that remain are the best"
    assert search_workload(run, 5000, 100, [3] * 15).training_gflop == pytest.approx(epoch.training_gflop), "at least the first epoch"
    assert search_workload(run, 5000, 100, [1] * 16).training_gflop == 0


def test_features_are_one_pass_per_scale_and_the_speech(paper):
    silent, spoken = features_workload(paper, 1000.0, 0.0), features_workload(paper, 1000.0, 7200.0)
    assert silent.gflop == pytest.approx(3000 * encoder_gflop(paper)) and silent.text == "1,000 faces at 3 scales"
    assert spoken.text == "1,000 faces at 3 scales, 2 h of sound"
    assert spoken.gflop - silent.gflop == pytest.approx(7200 * 17, rel=0.2)  # Wav2Vec 2.0 base, of chunks that overlap
    windows = replace(PAPER.features, speech=replace(PAPER.features.speech, mode="windows"))
    assert features_workload(run_of(replace(PAPER, features=windows)), 1000.0, 7200.0).gflop < spoken.gflop, "1,000 windows of a second"


def test_the_random_speech_model_has_its_own_sizes():
    found = features_workload(run_of(SMOKE), 0.0, 1.0).gflop
    assert 0 < found < 5


def test_still_images_are_counted_in_the_unfinished_shards():
    todo = {Item(name="a", identity=""): {"stills": [{}] * 7}, Item(name="b", identity=""): {"stills": [{}] * 3}}
    found = images_workload(todo)
    assert found is not None and found.text == "10 still images" and found.cpu_s == pytest.approx(10 * encoder._INGEST_MS / 1e3)
    assert images_workload(None) is None


def test_faces_are_those_that_were_counted_else_one_per_frame_and_named_subject(monkeypatch):
    rows = [
        {"video": "a", "size": 100, "subjects": [{"track": "a_left"}, {"track": "a_right"}]},
        {"video": "b", "size": 200, "subjects": []},
    ]
    monkeypatch.setattr(videos, "videos", lambda run: {Item(name=row["video"], identity=""): row for row in rows})
    monkeypatch.setattr(videos, "video_totals", lambda run: Totals(seconds=30, frames=900))
    run = run_of(SMOKE)
    assert videos.face_rows(run, rows, None) == pytest.approx(300 * 2 + 600)
    assert videos.face_rows(run, rows[:1], None) == pytest.approx(600)
    faces = SimpleNamespace(figures={"rows": 1200.0, "faces": 800.0})
    assert videos.face_rows(run, rows[1:], faces) == pytest.approx(400)  # pyright: ignore[reportArgumentType]
    assert videos.totals_of_part(run, rows[:1]).frames == pytest.approx(300)


def test_official_crops_have_no_estimate():
    config = replace(SMOKE, data=replace(SMOKE.data, affwild2_crops="cropped"))
    assert videos.faces_workload(run_of(config), {}) is None
