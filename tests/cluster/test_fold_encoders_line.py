"""The whole pipeline with encoders per fold on a few seconds of synthetic video, on a local Ray."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.job import run_job
from abaw_ray.cluster.launch.pipeline import STAGES, finish
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.annotations import annotated, cv_folds
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.stage_one.annotated_images import PREPARE_ANNOTATED_IMAGES
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.stage_two.fusion import SWEEP_FUSION, UNIMODAL, trials_folder
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.subjects import recording_of
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.fusion.checkpoint import load_fusion

pytestmark = pytest.mark.slow

SYNTHETIC = replace(TINY, fps_range=(8.0, 12.0), affectnet_train_images=48, affectnet_val_images=16, rafdb_train_images=16, rafdb_test_images=8)
ENCODERS = ("official", "cv-0", "cv-1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    config = replace(
        SMOKE,
        data=replace(SMOKE.data, synthetic_dir=str(root / "data"), synthetic=SYNTHETIC),
        storage=StorageConfig(uri=str(root / "runs")),
        compute=ComputeConfig(object_store_mb=100, decode=Resources(memory_gb=0.2), training=Resources(workers=1)),
        encoder=replace(SMOKE.encoder, epochs=1),
        fold_encoders=FoldEncodersConfig(epochs=1, images=56, interval_s=0.2),
        sweep=replace(SMOKE.sweep, trials=1, folds=2, fusion=replace(SMOKE.sweep.fusion, epochs=2)),
        bundle=replace(SMOKE.bundle, protocol="official"),
    )
    with RaySession(config.compute) as session:
        yield Run(config, session)


@pytest.fixture(scope="module")
def summary(run):
    return finish(run, run_job(run, STAGES))


def held_out(run, encoder):
    """Subjects that are scored with the features of an encoder."""
    if encoder == "official":
        return {name for name, split in annotated(run).splits.items() if split == "val"}
    return {name for name, fold in cv_folds(run).items() if f"cv-{fold}" == encoder}


def test_every_stage_ran_and_the_report_shows_the_encoders(run, summary):
    assert set(summary["stages"]) == {stage.name for stage in STAGES}
    assert all(stage["rows"] > 0 and not stage["failed"] for stage in summary["stages"].values())
    assert summary["stages"]["annotated_images"]["rows"] <= 56
    page = (Path(run.config.storage.uri) / "report.html").read_text()
    section = page.partition("Encoders per fold</h3>")[2].partition("</table>")[0]
    assert all(f">{name}<" in section for name in ENCODERS)
    assert Path(summary["submission"]).exists()


def test_no_encoder_has_seen_a_person_or_in_cv_a_recording_that_is_scored_with_its_features(run, summary):
    chips, encoders = PREPARE_ANNOTATED_IMAGES.require(run), TRAIN_FOLD_ENCODERS.require(run).figures["encoders"]
    assert tuple(encoders) == ENCODERS
    shards = {name: run.storage.read_table(path) for name, path in chips.outputs.items()}
    assert all(set(table["subject"].to_pylist()) <= {name} for name, table in shards.items())
    for name, encoder in encoders.items():
        seen, unseen = set(encoder["subjects"]), held_out(run, name)
        assert seen and unseen and not seen & unseen
        assert name == "official" or not {recording_of(one) for one in seen} & {recording_of(one) for one in unseen}
        assert encoder["images"] > sum(len(shards[one]) for one in seen) > 0


def test_the_encoders_continue_from_that_of_the_still_images_and_differ(run, summary):
    encoders = TRAIN_FOLD_ENCODERS.require(run).figures["encoders"]
    files = [f"{TRAIN_ENCODER.require(run).outputs['run']}/encoder", *(encoder["folder"] for encoder in encoders.values())]
    contents = {run.storage.read_bytes(f"{folder}/model.safetensors") for folder in files}
    assert len(contents) == 4
    first = encoders["official"]["data_sets"].keys()
    assert first == TRAIN_ENCODER.require(run).figures["data_sets"].keys(), "validation uses still images alone"


def test_every_final_model_states_the_encoder_of_its_own_fold(run, summary):
    fusion, encoders = SWEEP_FUSION.require(run), TRAIN_FOLD_ENCODERS.require(run).figures["encoders"]
    folders = {"official": ("official/model", "visual/model", "speech/model"), "cv-0": ("cv/fold-0",), "cv-1": ("cv/fold-1",)}
    for name, paths in folders.items():
        for path in paths:
            provenance = load_fusion(Path(run.storage.uri(f"{fusion.outputs['run']}/{path}"))).provenance
            assert provenance.encoder_train_subjects == set(encoders[name]["subjects"])
            assert not provenance.subjects & held_out(run, name)
    table = run.storage.read_table(f"{fusion.outputs['run']}/cv/out_of_fold.parquet")
    assert set(zip(table["track"].to_pylist(), table["fold"].to_pylist(), strict=True)) == set(cv_folds(run).items())


def test_the_vectors_of_the_encoders_have_the_rows_of_the_features_and_other_values(run, summary):
    features, own = EXTRACT_FEATURES.require(run).outputs, EXTRACT_FOLD_FEATURES.require(run).outputs
    splits = annotated(run).splits
    test = {name for name, split in splits.items() if split == "test"}
    assert set(own) == {f"{name}/{video}" for name in ENCODERS for video in features if name != "official" or video not in test}
    for item, path in own.items():
        ours, theirs = run.storage.read_table(path), run.storage.read_table(features[item.partition("/")[2]])
        for column in ("video", "track", "frame", "seen"):
            assert ours[column].equals(theirs[column])
        assert not ours["visual"].equals(theirs["visual"]) or not pa.compute.any(ours["seen"]).as_py()


def test_the_trials_are_those_without_encoders_per_fold(run, summary):
    off = Run(replace(run.config, fold_encoders=FoldEncodersConfig()), run.session, cache=run.cache)
    (item,) = SWEEP_FUSION.items(off)
    assert SWEEP_FUSION.store(off).path != SWEEP_FUSION.store(run).path
    assert trials_folder(run) == f"{SWEEP_FUSION.store(off).path}/trials/{item.key}"
    assert len(run.storage.files(trials_folder(run))) == len(("fused", *UNIMODAL))


def test_the_bundle_has_the_official_encoder(run, summary):
    root = Path(run.config.storage.uri)
    folder = TRAIN_FOLD_ENCODERS.require(run).figures["encoders"]["official"]["folder"]
    assert (root / "model/encoder/model.safetensors").read_bytes() == (root / folder / "model.safetensors").read_bytes()
    assert json.loads((root / "model/bundle.json").read_text())["protocol"] == "official"


def test_a_killed_stage_continues_without_training_finished_encoders_again(run, summary):
    record, root = TRAIN_FOLD_ENCODERS.require(run), Path(run.config.storage.uri)
    weights = [root / encoder["folder"] / "model.safetensors" for encoder in record.figures["encoders"].values()]
    before = [path.stat().st_mtime_ns for path in weights]
    (root / record.outputs["run"] / "output.json").unlink()
    for path in (root / record.store / "records").iterdir():
        path.unlink()
    again = TRAIN_FOLD_ENCODERS.complete(Run(run.config, run.session))
    assert again.figures == record.figures and again.identity == record.identity
    assert [path.stat().st_mtime_ns for path in weights] == before
