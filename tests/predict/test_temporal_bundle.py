"""A bundle whose fusion models read the frames around each frame: the batches in which a video is analyzed must not show."""

import cv2
import numpy as np
import pyarrow as pa
import pytest
from tiny_bundle import write_tiny_bundle

from abaw_ray.core import schema
from abaw_ray.faces.chips import encode_jpeg
from abaw_ray.predict.bundle.store import open_bundle
from abaw_ray.predict.models.audio_visual import AudioVisualModel

FRAMES = 90


@pytest.fixture(scope="module", params=["conv", "attention"])
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder / "model", folder / "parts", head=request.param)
    with open_bundle(str(folder / "model")) as bundle:
        return AudioVisualModel(bundle)


def faces_of(track, first=1, last=FRAMES, seed=0):
    rng, rows = np.random.default_rng(seed), []
    for frame in range(first, last + 1):
        seen = frame % 11 != 0
        image = cv2.resize(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8), (28, 28))
        row = {"video": "v", "track": track, "frame": frame, "time": frame / 15, "shot": int(frame > 60), "seen": seen}
        rows.append(row | {"chip": encode_jpeg(image, 95) if seen else None})
    return pa.Table.from_pylist(rows, schema=schema.FACE)


def logits(model, *batches):
    times = np.concatenate([batch["time"].to_numpy() for batch in batches])
    return np.concatenate([scores.logits for scores in model.score(batches, times, None)])


def test_scores_do_not_depend_on_the_division_into_batches(model):
    faces = faces_of("main")
    whole, parts = logits(model, faces), logits(model, *(faces.slice(start, 17) for start in range(0, FRAMES, 17)))
    np.testing.assert_allclose(parts, whole, atol=1e-4)
    assert np.isfinite(whole[faces["seen"].to_numpy()]).all()


def test_scores_of_a_person_do_not_depend_on_another_one(model):
    main, other = faces_of("main"), faces_of("person-2", 20, 70, seed=1)
    np.testing.assert_allclose(logits(model, main, other)[:FRAMES], logits(model, main), atol=1e-4)


def test_a_frame_is_scored_from_those_around_it_in_its_shot_alone(model):
    faces = faces_of("main")
    changed = pa.concat_tables([faces_of("main", 1, 60, seed=5), faces.slice(60)])
    whole, other = logits(model, faces), logits(model, changed)
    np.testing.assert_allclose(other[60:], whole[60:], atol=1e-4, equal_nan=True)
    assert np.nanmax(np.abs(other[:60] - whole[:60])) > 0.01
