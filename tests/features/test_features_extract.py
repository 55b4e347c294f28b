from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import StageError
from abaw_ray.core.tables import rows_of_track
from abaw_ray.faces.chips import encode_jpeg
from abaw_ray.faces.config import ChipConfig
from abaw_ray.features.config import FeaturesConfig, RandomWav2VecConfig, SpeechConfig
from abaw_ray.features.extract import ExtractFeatures
from abaw_ray.media.audio import Audio

SMALL = RandomWav2VecConfig(conv_dim=16, hidden_size=32, num_hidden_layers=1)
CONFIG = FeaturesConfig(speech=SpeechConfig(weights="random", chunk_s=5.0, margin_s=1.0, random=SMALL))


@pytest.fixture(scope="module")
def extract(encoder_folder):
    return ExtractFeatures(CONFIG, ChipConfig(size=28), encoder_folder)


def face_table(frames=30, tracks=("7_left", "7_right"), seed=0):
    """FACE rows at a variable frame rate; each track lacks the face in other frames."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames))
    rows = []
    for number, track in enumerate(tracks):
        for frame in range(1, frames + 1):
            seen = (frame + number) % 4 != 0
            image = rng.integers(0, 255, size=(28, 28, 3)).astype(np.uint8)
            rows.append(
                {
                    "video": "7",
                    "track": track,
                    "frame": frame,
                    "time": times[frame - 1],
                    "shot": frame // 5,
                    "seen": seen,
                    "source": "detected" if seen else None,
                    "box": [0.0, 0.0, 9.0, 9.0] if seen else None,
                    "score": 1.0 if seen else None,
                    "landmarks": None,
                    "chip": encode_jpeg(image, 90) if seen else None,
                    "chip_scale": 1.0 if seen else None,
                    "inside": 1.0 if seen else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=schema.FACE)


def rows_of(table):
    return {(row["track"], row["frame"]): row for row in table.to_pylist()}


def test_every_row_is_kept_in_order_and_missing_vectors_are_null_not_zeros(extract, speech):
    faces = face_table()
    late = Audio(speech.samples[:16_000], 1.5)
    table = extract(faces, late)
    assert table.schema == schema.feature(24, 32)
    for name in ("video", "track", "frame", "time", "shot", "seen"):
        assert table[name].to_pylist() == faces[name].to_pylist()
    for row in table.to_pylist():
        assert (row["visual"] is None) == (not row["seen"])
        assert (row["speech"] is None) == (not row["heard"])
    heard = table["heard"].to_numpy()
    assert heard.any() and not heard.all() and (~table["seen"].to_numpy()).any()


def test_a_video_without_audio_has_visual_vectors_only(extract):
    table = extract(face_table(), None)
    assert table["speech"].null_count == len(table) and not table["heard"].to_numpy().any()


def test_a_row_does_not_depend_on_another_person_or_a_neighboring_frame(extract, speech):
    faces = face_table()
    both = rows_of(extract(faces, speech))
    alone = rows_of(extract(rows_of_track(faces, "7_right"), speech))
    for key, row in alone.items():
        assert (row["visual"] is None) == (both[key]["visual"] is None)
        if row["visual"] is not None:
            np.testing.assert_allclose(row["visual"], both[key]["visual"], atol=2e-3)
        assert row["speech"] == both[key]["speech"]
    subset = rows_of(extract(faces.take([row for row in range(60) if row % 7]), speech))
    for key, row in subset.items():
        if row["visual"] is not None:
            np.testing.assert_allclose(row["visual"], both[key]["visual"], atol=2e-3)


def test_the_audio_passes_through_the_model_once_for_all_people_and_batches(extract, speech, monkeypatch):
    faces, calls = face_table(), []
    inner = extract.speech.__class__.__call__
    monkeypatch.setattr(extract.speech.__class__, "__call__", lambda self, audio, times: (calls.append(len(times)), inner(self, audio, times))[1])
    batches = [faces.slice(0, 7), faces.slice(7, 40), faces.slice(47), faces.slice(60)]
    streamed = pa.concat_tables(extract.stream(batches, faces["time"].to_numpy(), speech))
    assert calls == [30]
    whole = extract(faces, speech)
    assert streamed["speech"].to_pylist() == whole["speech"].to_pylist()
    for one, two in zip(streamed["visual"].to_pylist(), whole["visual"].to_pylist(), strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            np.testing.assert_allclose(one, two, atol=2e-3)


def test_two_people_at_the_same_time_have_the_same_speech_vector(extract, speech):
    rows = rows_of(extract(face_table(), speech))
    for frame in range(1, 31):
        assert rows["7_left", frame]["speech"] == rows["7_right", frame]["speech"]


def test_an_empty_table_of_faces_gives_an_empty_table_of_features_in_the_same_schema(extract, speech):
    table = extract(schema.FACE.empty_table(), speech)
    assert table.schema == schema.feature(24, 32) and len(table) == 0


def test_the_table_is_unchanged_after_parquet(extract, speech, tmp_path):
    table = extract(face_table(), speech)
    pq.write_table(table, tmp_path / "part.parquet")
    read = schema.conform(pq.read_table(tmp_path / "part.parquet"), table.schema, stage="test")
    assert read.equals(table)


def test_a_seen_frame_without_a_chip_is_an_error_that_names_it(extract, speech):
    rows = face_table().to_pylist()
    rows[1]["chip"] = None
    with pytest.raises(StageError, match="track '7_left' frame 2 is seen=True and has no chip"):
        extract(pa.Table.from_pylist(rows, schema=schema.FACE), speech)


def test_a_batch_of_another_video_is_refused(extract, speech):
    faces = face_table()
    with pytest.raises(StageError, match="not in the given times"):
        list(extract.stream([faces], faces["time"].to_numpy()[:10], speech))


def test_extraction_is_deterministic(extract, encoder_folder, speech):
    again = ExtractFeatures(replace(CONFIG), ChipConfig(size=28), encoder_folder)
    assert extract(face_table(), speech).equals(again(face_table(), speech))
