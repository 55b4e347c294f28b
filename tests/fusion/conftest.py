import numpy as np
import pytest

from abaw_ray.fusion.frames import Frames, Person


def draw_frames(seed=0, train=12, val=4, frames=120, noise=2.0, widths=(24, 16), own=1.0):
    """People whose vectors carry the expression (the eyes confuse some classes, the voice others), themselves and noise."""
    rng = np.random.default_rng(seed)
    shown, said = rng.normal(size=(8, widths[0])), rng.normal(size=(8, widths[1]))
    shown[1], said[4] = shown[2], said[5]
    people, parts = [], {name: [] for name in ("visual", "speech", "seen", "heard", "time", "frame", "labels", "person")}
    for index in range(train + val):
        people.append(Person(video=str(100 + index), track=str(100 + index), split="train" if index < train else "val"))
        labels = np.repeat(rng.permutation(np.tile(np.arange(8), frames // 80 + 1)), 10)[:frames]
        parts["visual"].append(shown[labels] + own * rng.normal(size=widths[0]) + noise * rng.normal(size=(frames, widths[0])))
        parts["speech"].append(said[labels] + own * rng.normal(size=widths[1]) + noise * rng.normal(size=(frames, widths[1])))
        parts["seen"].append(rng.random(frames) < 0.9)
        parts["heard"].append(rng.random(frames) < 0.8)
        parts["labels"].append(np.where(rng.random(frames) < 0.05, -1, labels))
        parts["time"].append(np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames)))
        parts["frame"].append(np.arange(1, frames + 1))
        parts["person"].append(np.full(frames, index))
    kinds = {"visual": np.float16, "speech": np.float16, "labels": np.int8, "frame": np.int32, "person": np.int32}
    columns = {name: np.concatenate(column).astype(kinds.get(name)) if name in kinds else np.concatenate(column) for name, column in parts.items()}
    return Frames(people=tuple(people), **columns)


@pytest.fixture(scope="session")
def drawn():
    return draw_frames


@pytest.fixture(scope="session")
def frames():
    return draw_frames()


@pytest.fixture(scope="session")
def folds(frames):
    """Three folds of train and validation together."""
    return {person.name: index % 3 for index, person in enumerate(frames.people)}
