from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import StageError
from abaw_ray.faces.chips import ChipConfig, encode_jpeg
from abaw_ray.features.extract import ExtractFeatures, FeaturesConfig
from abaw_ray.features.speech import SpeechConfig
from abaw_ray.features.wav2vec import RandomSpeech
from abaw_ray.media.audio import Audio

CONFIG = FeaturesConfig(speech=SpeechConfig(weights="random", chunk=5.0, margin=1.0, random=RandomSpeech(channels=16, hidden=32, layers=1)))


@pytest.fixture(scope="module")
def extract(encoder_folder):
    return ExtractFeatures(CONFIG, ChipConfig(size=28), encoder_folder)


def face_table(frames=30, tracks=("7_left", "7_right"), seed=0):
    """FACE rows at a variable rate; everyone misses some faces, each others."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames))
    rows = []
    for number, track in enumerate(tracks):
        for frame in range(1, frames + 1):
            seen = (frame + number) % 4 != 0
            picture = rng.integers(0, 255, size=(28, 28, 3)).astype(np.uint8)
            rows.append(
                {
                    "video": "7",
                    "track": track,
                    "frame": frame,
                    "time": times[frame - 1],
                    "seen": seen,
                    "source": "detected" if seen else None,
                    "box": [0.0, 0.0, 9.0, 9.0] if seen else None,
                    "score": 1.0 if seen else None,
                    "landmarks": None,
                    "chip": encode_jpeg(picture, 90) if seen else None,
                    "chip_scale": 1.0 if seen else None,
                    "inside": 1.0 if seen else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=schema.FACE)


def rows_of(table):
    return {(row["track"], row["frame"]): row for row in table.to_pylist()}


def test_every_row_is_kept_in_order_and_missing_vectors_are_null_not_zeros(extract, voice):
    faces = face_table()
    late = Audio(voice.samples[:16_000], 1.5)
    table = extract(faces, late)
    assert table.schema == schema.feature(24, 32)
    for name in ("video", "track", "frame", "time", "seen"):
        assert table[name].to_pylist() == faces[name].to_pylist()
    for row in table.to_pylist():
        assert (row["visual"] is None) == (not row["seen"])
        assert (row["speech"] is None) == (not row["heard"])
    heard = table["heard"].to_numpy()
    assert heard.any() and not heard.all() and (~table["seen"].to_numpy()).any()


def test_a_video_without_sound_is_seen_and_not_heard(extract):
    table = extract(face_table(), None)
    assert table["speech"].null_count == len(table) and not table["heard"].to_numpy().any()


def test_nobody_takes_anything_from_another_person_or_a_neighbouring_frame(extract, voice):
    faces = face_table()
    both = rows_of(extract(faces, voice))
    alone = rows_of(extract(faces.filter(pa.compute.equal(faces["track"], "7_right")), voice))
    for key, row in alone.items():
        assert (row["visual"] is None) == (both[key]["visual"] is None)
        if row["visual"] is not None:
            np.testing.assert_allclose(row["visual"], both[key]["visual"], atol=2e-3)
        assert row["speech"] == both[key]["speech"]
    gone = rows_of(extract(faces.take([row for row in range(60) if row % 7]), voice))
    for key, row in gone.items():
        if row["visual"] is not None:
            np.testing.assert_allclose(row["visual"], both[key]["visual"], atol=2e-3)


def test_the_sound_is_gone_through_once_for_all_people_and_pieces(extract, voice, monkeypatch):
    faces, asked = face_table(), []
    inner = extract.speech.__class__.__call__
    monkeypatch.setattr(extract.speech.__class__, "__call__", lambda self, audio, times: (asked.append(len(times)), inner(self, audio, times))[1])
    pieces = [faces.slice(0, 7), faces.slice(7, 40), faces.slice(47), faces.slice(60)]
    streamed = pa.concat_tables(extract.stream(pieces, faces["time"].to_numpy(), voice))
    assert asked == [30]
    whole = extract(faces, voice)
    assert streamed["speech"].to_pylist() == whole["speech"].to_pylist()
    for one, two in zip(streamed["visual"].to_pylist(), whole["visual"].to_pylist(), strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            np.testing.assert_allclose(one, two, atol=2e-3)


def test_two_people_at_the_same_time_hear_the_same(extract, voice):
    rows = rows_of(extract(face_table(), voice))
    for frame in range(1, 31):
        assert rows["7_left", frame]["speech"] == rows["7_right", frame]["speech"]


def test_no_rows_give_a_table_of_no_rows_in_the_same_schema(extract, voice):
    assert extract(schema.FACE.empty_table(), voice).schema == schema.feature(24, 32)


def test_the_table_survives_parquet(extract, voice, tmp_path):
    table = extract(face_table(), voice)
    pq.write_table(table, tmp_path / "part.parquet")
    read = schema.conform(pq.read_table(tmp_path / "part.parquet"), table.schema, stage="test")
    assert read.equals(table)


def test_a_seen_frame_without_a_chip_is_an_error_that_names_it(extract, voice):
    rows = face_table().to_pylist()
    rows[1]["chip"] = None
    with pytest.raises(StageError, match="track '7_left' frame 2 is seen=True and has no chip"):
        extract(pa.Table.from_pylist(rows, schema=schema.FACE), voice)


def test_a_piece_from_another_video_is_noticed(extract, voice):
    faces = face_table()
    with pytest.raises(StageError, match="times that the whole has not"):
        list(extract.stream([faces], faces["time"].to_numpy()[:10], voice))


def test_extraction_repeats_itself(extract, encoder_folder, voice):
    again = ExtractFeatures(replace(CONFIG), ChipConfig(size=28), encoder_folder)
    assert extract(face_table(), voice).equals(again(face_table(), voice))
