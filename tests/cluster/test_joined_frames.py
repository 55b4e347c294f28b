"""The frames of Stage II: only the subjects that are needed are joined, and only those can be missing."""

import numpy as np
import pytest
from feature_tables import feature_table

from abaw_ray.cluster.stages.annotations import AnnotationSet, join
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
    assert annotations.names("train") == ["a", "b_left"]
    assert annotations.labels_of(["train"]).keys() == {"a", "b_left"}
    assert annotations.labels_of(["val", "test"]).keys() == {"b_right", "c"}
