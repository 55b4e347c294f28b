import numpy as np
import pytest

from abaw_ray.fusion.frames import Frames, SubjectTrack


def make_fusion_frames(seed=0, train=12, val=4, frames=120, noise=2.0, dims=(24, 16), subject_std=1.0):
    """Synthetic frames. A vector is the mean of its expression plus an offset of its subject plus noise.

    Two expressions have the same visual mean, two others the same speech mean.
    """
    rng = np.random.default_rng(seed)
    visual_means, speech_means = rng.normal(size=(8, dims[0])), rng.normal(size=(8, dims[1]))
    visual_means[1], speech_means[4] = visual_means[2], speech_means[5]
    subjects, lists = [], {name: [] for name in ("visual", "speech", "seen", "heard", "time", "frame", "shot", "labels", "subject_index")}
    for index in range(train + val):
        subjects.append(SubjectTrack(video=str(100 + index), track=str(100 + index), split="train" if index < train else "val"))
        labels = np.repeat(rng.permutation(np.tile(np.arange(8), frames // 80 + 1)), 10)[:frames]
        lists["visual"].append(visual_means[labels] + subject_std * rng.normal(size=dims[0]) + noise * rng.normal(size=(frames, dims[0])))
        lists["speech"].append(speech_means[labels] + subject_std * rng.normal(size=dims[1]) + noise * rng.normal(size=(frames, dims[1])))
        lists["seen"].append(rng.random(frames) < 0.9)
        lists["heard"].append(rng.random(frames) < 0.8)
        lists["labels"].append(np.where(rng.random(frames) < 0.05, -1, labels))
        lists["time"].append(np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames)))
        lists["frame"].append(np.arange(1, frames + 1))
        lists["shot"].append(np.arange(frames) // 70)
        lists["subject_index"].append(np.full(frames, index))
    dtypes = {"visual": np.float16, "speech": np.float16, "labels": np.int8, "frame": np.int32, "shot": np.int32, "subject_index": np.int32}
    columns = {name: np.concatenate(column).astype(dtypes.get(name)) if name in dtypes else np.concatenate(column) for name, column in lists.items()}
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


@pytest.fixture(scope="session")
def held_out(frames):
    """The subjects that each of three folds holds out, as masks."""
    return [np.arange(len(frames.subjects)) % 3 == fold for fold in range(3)]


@pytest.fixture(scope="session")
def train(held_out):
    """The subjects on which each of the three folds is trained, as masks."""
    return [~mask for mask in held_out]
