"""Scores of the baselines from their stored vectors: each vector keeps its label, unlabelled and missing ones are left out."""

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.cluster.stages.annotations import AnnotationSet
from abaw_ray.cluster.stages.stage_two.baselines import score_vectors
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

SPLITS = {"7": "train", "8": "train", "9": "val", "10": "test"}


@pytest.fixture
def stored(tmp_path):
    """Storage and paths: the vector of a labelled frame gives its class; those of unlabelled frames would mislead."""
    rng, storage, paths = np.random.default_rng(0), Storage(StorageConfig(uri=str(tmp_path))), []
    labels = {name: rng.integers(-1, 8, size=80).astype(np.int8) for name in ("7", "8", "9")}
    for name in SPLITS:
        frames = np.arange(1, 100, 2)
        classes = [int(labels[name][frame - 1]) if name in labels and frame <= 80 else -1 for frame in frames]
        vectors = [None if row % 7 == 0 else [float(one == wanted) + rng.normal(0, 0.01) for one in range(8)] for row, wanted in enumerate(classes)]
        pixels = pa.array(vectors, pa.list_(pa.float32()))
        noise = pa.array([rng.normal(size=2).tolist() for _ in classes], pa.list_(pa.float32()))
        storage.write_table(f"{name}.parquet", pa.table({"track": [name] * len(frames), "frame": frames, "pixels": pixels, "pitch_energy": noise}))
        paths.append(f"{name}.parquet")
    return storage, paths, AnnotationSet(splits=SPLITS, labels=labels, example=[])


def test_vectors_that_give_the_class_are_scored_perfectly_and_noise_is_not(stored):
    scores = score_vectors(*stored)
    assert scores["pixels"]["macro_f1"] == 1.0
    assert scores["pitch_energy"]["macro_f1"] < 0.5


def test_a_video_without_any_labelled_vector_adds_nothing(stored):
    storage, paths, annotations = stored
    assert score_vectors(storage, paths, annotations) == score_vectors(storage, [path for path in paths if not path.startswith("10")], annotations)
