import numpy as np
import pytest

from abaw_ray.fusion.frames import Frames, SubjectTrack


def make_fusion_frames(seed=0, train=12, val=4, frames=120, noise=2.0, widths=(24, 16), own=1.0):
    """Subjects whose vectors carry the expression (the eyes confuse some classes, the voice others), themselves and noise."""
    rng = np.random.default_rng(seed)
    shown, said = rng.normal(size=(8, widths[0])), rng.normal(size=(8, widths[1]))
    shown[1], said[4] = shown[2], said[5]
    subjects, parts = [], {name: [] for name in ("visual", "speech", "seen", "heard", "time", "frame", "labels", "subject_index")}
    for index in range(train + val):
        subjects.append(SubjectTrack(video=str(100 + index), track=str(100 + index), split="train" if index < train else "val"))
        labels = np.repeat(rng.permutation(np.tile(np.arange(8), frames // 80 + 1)), 10)[:frames]
        parts["visual"].append(shown[labels] + own * rng.normal(size=widths[0]) + noise * rng.normal(size=(frames, widths[0])))
        parts["speech"].append(said[labels] + own * rng.normal(size=widths[1]) + noise * rng.normal(size=(frames, widths[1])))
        parts["seen"].append(rng.random(frames) < 0.9)
        parts["heard"].append(rng.random(frames) < 0.8)
        parts["labels"].append(np.where(rng.random(frames) < 0.05, -1, labels))
        parts["time"].append(np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames)))
        parts["frame"].append(np.arange(1, frames + 1))
        parts["subject_index"].append(np.full(frames, index))
    kinds = {"visual": np.float16, "speech": np.float16, "labels": np.int8, "frame": np.int32, "subject_index": np.int32}
    columns = {name: np.concatenate(column).astype(kinds.get(name)) if name in kinds else np.concatenate(column) for name, column in parts.items()}
    return Frames(subjects=tuple(subjects), **columns)


@pytest.fixture(scope="session")
def make_frames():
    return make_fusion_frames


@pytest.fixture(scope="session")
def frames():
    return make_fusion_frames()


@pytest.fixture(scope="session")
def folds(frames):
    """Three folds of train and validation together."""
    return {subject.name: index % 3 for index, subject in enumerate(frames.subjects)}
