"""The frames of Stage II: only the subjects that are needed are joined, and only those can be missing."""

from types import SimpleNamespace

import numpy as np
import pytest
from feature_tables import feature_table

from abaw_ray.cluster.engine.run import Policy
from abaw_ray.cluster.stages import annotations as module
from abaw_ray.cluster.stages.annotations import AnnotationSet, gb_to_join, join
from abaw_ray.cluster.stages.stage_two.encoder_frames import EncoderFrames
from abaw_ray.core.errors import StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

SPLITS = {"a": "train", "b_left": "train", "b_right": "val", "c": "val", "d": "test"}
FRAMES = {"a": 4, "b_left": 6, "b_right": 6, "c": 5, "d": 7}


@pytest.fixture
def annotations():
    labels = {name: np.arange(FRAMES[name], dtype=np.int8) % 8 for name, split in SPLITS.items() if split != "test"}
    return AnnotationSet(splits=SPLITS, labels=labels, example=[])


@pytest.fixture
def storage(tmp_path):
    """One table per video; the second video shows subjects of two splits."""
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    for video, names in {"a": ["a"], "b": ["b_left", "b_right"], "c": ["c"], "d": ["d"]}.items():
        storage.write_table(f"{video}.parquet", feature_table(video, {name: FRAMES[name] for name in names}))
    return storage


def test_only_the_subjects_of_the_chosen_splits_are_joined_with_their_labels(storage, annotations):
    frames, left_out = join(storage, ["b.parquet", "c.parquet", "d.parquet"], annotations, ("val", "test"))
    assert {subject.name: subject.split for subject in frames.subjects} == {"b_right": "val", "c": "val", "d": "test"}
    assert left_out == {}, "the first video was not read, and none of its subjects is needed"
    for name in ("b_right", "c"):
        assert frames.labels[frames.rows_of_subjects([name])].tolist() == annotations.labels[name].tolist()
    assert set(frames.labels[frames.rows_of_subjects(["d"])].tolist()) == {-1}


def test_a_needed_subject_without_features_is_left_out_with_its_reason(storage, annotations):
    frames, left_out = join(storage, ["b.parquet", "d.parquet"], annotations, ("val", "test"))
    assert list(left_out) == ["c"] and left_out["c"].startswith("its video has no features")
    assert "c" not in {subject.name for subject in frames.subjects}
    with pytest.raises(StageError, match="no frame to join"):
        join(storage, ["a.parquet"], annotations, ("val",))


def test_names_and_labels_of_splits(annotations):
    assert annotations.subject_names("train") == ["a", "b_left"]
    assert annotations.labels_of(["train"]).keys() == {"a", "b_left"}
    assert annotations.labels_of(["val", "test"]).keys() == {"b_right", "c"}


def test_subjects_can_be_taken_out(annotations):
    rest = annotations.without({"a": "its video failed", "c": "its video failed"})
    assert rest.subject_names("train") == ["b_left"] and rest.subject_names("val") == ["b_right"]
    assert rest.labels.keys() == {"b_left", "b_right"}


def test_the_frames_of_an_encoder_are_those_of_the_splits_also_within_a_video(storage, annotations):
    features = {video: f"{video}.parquet" for video in "abcd"}
    visual = {video: f"{video}-visual.parquet" for video in "abcd"}
    for video in "abcd":
        storage.write_table(visual[video], storage.read_table(features[video], columns=["video", "track", "frame", "seen", "visual"]))
    encoders = EncoderFrames(
        storage=storage,
        annotations=annotations,
        features=features,
        visual={"official": visual},
        train_subjects={"official": frozenset({"a", "b_left"})},
        video_of={name: name[0] for name in SPLITS},
        split_bytes={"train": 2e9, "val": 1e9, "test": 0.0},
    )
    frames = encoders.official("val")
    assert {subject.name for subject in frames.subjects} == {"b_right", "c"} and dict(frames.excluded_subjects) == {}
    assert frames.encoder_train_subjects == {"a", "b_left"}
    assert {subject.name for subject in encoders.official("train", "val").subjects} == {"a", "b_left", "b_right", "c"}
    assert encoders.memory_gb("train", "val") == gb_to_join(3e9) > encoders.memory_gb("val", "test") == gb_to_join(1e9)


def test_what_was_few_enough_for_the_sweep_is_few_enough_for_the_predictions(annotations, monkeypatch):
    """Two of 250 annotated subjects may fail; that both are among the few of Validation_Set changes nothing."""
    splits = {f"t{number}": "train" for number in range(248)} | {"v0": "val", "v1": "val"}
    many = AnnotationSet(splits=splits, labels={name: np.zeros(1, np.int8) for name in splits}, example=[])
    failed = dict.fromkeys(("v0", "v1"), "its video has no features")
    monkeypatch.setattr(module, "outputs_of", lambda *_: [])
    monkeypatch.setattr(module, "frame_sizes", lambda *_: lambda outputs: 0.0)
    monkeypatch.setattr(module, "nodes_without_cpus", list)
    monkeypatch.setattr(module, "fetch", lambda reference, work: reference)
    monkeypatch.setattr("ray.remote", lambda **options: lambda task: SimpleNamespace(remote=lambda *_: ("frames", failed)))
    run = SimpleNamespace(session=SimpleNamespace(start=lambda size: None), storage=None, policy=Policy())
    for chosen in (("train", "val"), ("val", "test")):
        assert module.frames_in_cluster(run, SimpleNamespace(outputs={}), many, chosen, stage="s") == ("frames", failed)
