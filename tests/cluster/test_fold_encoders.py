"""Which images each encoder per fold is trained on, read from real shards, without Ray."""

from dataclasses import replace

import pyarrow as pa
import pytest
from tiny import TINY

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.annotations import annotated, cv_folds
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.stage_one.annotated_images import PREPARE_ANNOTATED_IMAGES
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS, checked_subjects, subjects_of_images, training_config
from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.subjects import recording_of
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.encoder.folds.plan import fold_encoders

SPLITS = {
    "1": "train",
    "2": "train",
    "3": "val",
    "4-30-64x64-1": "train",
    "4-30-64x64-2": "val",
    "5_left": "train",
    "5_right": "val",
}
FOLDS = {"1": 0, "2": 1, "3": 2, "4-30-64x64-1": 0, "4-30-64x64-2": 0, "5_left": 1, "5_right": 1}


def row(subject, annotated):
    columns = {"image": subject, "jpeg": b"x", "label": 0, "source": "s", "split": "train", "scale": 1.7, "inside": 1.0}
    return columns | ({"subject": subject} if annotated else {})


@pytest.fixture
def shards(tmp_path):
    """The storage, the path of each subject's shard, and that of a shard of still images."""
    storage, paths = Storage(StorageConfig(uri=str(tmp_path))), {}
    for subject in SPLITS:
        paths[subject] = f"annotated/{subject}.parquet"
        storage.write_table(paths[subject], pa.Table.from_pylist([row(subject, True)], schema=schema.ANNOTATED_IMAGE))
    storage.write_table("images/a.parquet", pa.Table.from_pylist([row("still", False)], schema=schema.IMAGE))
    return storage, paths, "images/a.parquet"


@pytest.mark.parametrize("encoder", fold_encoders(SPLITS, FOLDS), ids=lambda encoder: encoder.name)
def test_the_images_of_an_encoder_hold_no_subject_that_is_scored_with_its_features(shards, encoder):
    storage, paths, stills = shards
    subjects = checked_subjects(storage, [stills, *(paths[name] for name in encoder.train)], encoder)
    held_out = {name for name, split in SPLITS.items() if split == "val"}
    if encoder.name != "official":
        held_out = {name for name, fold in FOLDS.items() if f"cv-{fold}" == encoder.name}
        assert not {recording_of(name) for name in subjects} & {recording_of(name) for name in held_out}
        assert subjects | held_out == set(SPLITS)
    assert subjects and not subjects & held_out


@pytest.mark.parametrize("encoder", fold_encoders(SPLITS, FOLDS), ids=lambda encoder: encoder.name)
def test_a_shard_of_a_held_out_subject_is_found_by_its_rows_whatever_its_name(shards, encoder):
    storage, paths, stills = shards
    seen, unseen = min(encoder.train), min(encoder.held_out)
    both = pa.Table.from_pylist([row(seen, True), row(unseen, True)], schema=schema.ANNOTATED_IMAGE)
    storage.write_table(paths[seen], both)
    with pytest.raises(StageError, match=f"'{unseen}' is among the images of {encoder.name}, which must not see it"):
        checked_subjects(storage, [stills, paths[seen]], encoder)


def test_folds_that_divide_a_recording_are_refused_before_the_training(shards):
    storage, paths, _ = shards
    divided = FOLDS | {"4-30-64x64-2": 2}
    encoder = next(encoder for encoder in fold_encoders(SPLITS, divided) if encoder.name == "cv-2")
    with pytest.raises(StageError, match="'4-30-64x64-1' is among the images of cv-2, and '4-30-64x64-2' of its recording is held out"):
        checked_subjects(storage, [paths[name] for name in encoder.train], encoder)


def test_an_encoder_without_any_chip_is_refused_and_still_images_have_no_subject(shards):
    storage, _, stills = shards
    assert subjects_of_images(storage, [stills]) == frozenset()
    with pytest.raises(StageError, match="no chip for official"):
        checked_subjects(storage, [stills], fold_encoders(SPLITS, FOLDS)[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with encoders per fold on the synthetic data set; nothing has been done."""
    folder = tmp_path_factory.mktemp("folds")
    data = replace(SMOKE.data, synthetic_dir=str(folder / "data"), synthetic=TINY)
    config = replace(
        SMOKE,
        data=data,
        storage=StorageConfig(uri=str(folder / "runs")),
        fold_encoders=FoldEncodersConfig(epochs=1),
        bundle=replace(SMOKE.bundle, protocol="official"),
        sweep=replace(SMOKE.sweep, folds=3),
    )
    return Run(config, RaySession(config.compute))


def changed(run, **changes):
    return Run(replace(run.config, **changes), run.session, cache=run.cache)


def test_the_encoder_of_the_still_images_and_the_faces_keep_their_address_with_encoders_per_fold(run):
    off = changed(run, fold_encoders=FoldEncodersConfig(epochs=0, images=5))
    for stage in (PREPARE_FACES, TRAIN_ENCODER):
        assert stage.store(run).path == stage.store(off).path
    assert not PREPARE_ANNOTATED_IMAGES.is_needed(off.config) and not TRAIN_FOLD_ENCODERS.is_needed(off.config)


def test_what_the_images_and_the_encoders_depend_on_is_in_their_address(run):
    fewer, longer = (changed(run, fold_encoders=replace(run.config.fold_encoders, **each)) for each in ({"images": 5}, {"epochs": 2}))
    other_folds = changed(run, sweep=replace(run.config.sweep, folds=4))
    images, encoders = (
        [stage.store(each).path for each in (run, fewer, longer, other_folds)] for stage in (PREPARE_ANNOTATED_IMAGES, TRAIN_FOLD_ENCODERS)
    )
    assert images[0] == images[2] == images[3] != images[1]
    assert len(set(encoders)) == 4
    more_trials = changed(run, sweep=replace(run.config.sweep, trials=9))
    assert TRAIN_FOLD_ENCODERS.store(more_trials).path == encoders[0]


def test_the_folds_are_those_of_all_annotated_subjects_and_the_training_starts_from_the_encoder_alone(run):
    assert cv_folds(run).keys() == annotated(run).labels.keys() and set(cv_folds(run).values()) == {0, 1, 2}
    config = training_config(run.config.encoder, run.config.fold_encoders)
    assert (config.epochs, config.model.weights, config.probe_images_per_class) == (1, "random", 0)


def test_an_encoder_from_elsewhere_is_refused_with_encoders_per_fold(run):
    path = changed(run, encoder=replace(run.config.encoder, path="owner/name"))
    with pytest.raises(ConfigError, match="leave it out, or set fold_encoders.epochs to 0"):
        TRAIN_FOLD_ENCODERS.check(path)
    bare = changed(run, faces=replace(run.config.faces, chips=replace(run.config.faces.chips, keep="none")))
    with pytest.raises(ConfigError, match="encoders per fold are trained on chips; set it to jpeg"):
        PREPARE_ANNOTATED_IMAGES.check(bare)
