import base64

import numpy as np
import pyarrow as pa
import pytest
from analysis_rows import analysis_rows, analysis_table, long_table

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.report.video.encode import encode_video
from abaw_ray.report.video.inputs import AudioLevel, VideoPage


def array(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


def encode(*people, **options):
    return encode_video(VideoPage(**({"title": "v", "table": analysis_table(*people), "width": 160, "height": 120} | options)))


def test_times_are_exact_to_a_microsecond_after_54000_frames():
    times = 0.852 + np.cumsum(np.random.default_rng(0).uniform(1 / 60, 1 / 6, 54_000))
    table = long_table(analysis_table(analysis_rows("N" * 600, times)), 90, ["main"])
    data = encode(table=table.set_column(table.column_names.index("time"), schema.ANALYSIS.field("time"), pa.array(times)))
    decoded = (data["firstTime"] + np.concatenate([[0], np.cumsum(array(data["steps"], "<u4").astype(np.int64))])) / 1e6
    np.testing.assert_allclose(decoded, times, atol=1e-6)
    assert data["end"] == pytest.approx(times[-1] + np.median(np.diff(times)))


def test_every_value_of_a_person_is_encoded():
    (person,) = encode(analysis_rows("H.A", [0.0, 0.1, 0.3], box=lambda frame: (10 * frame, -6, 80, 120)))["people"]
    assert array(person["label"], np.uint8).tolist() == [EXPRESSIONS.index("Happiness"), 255, EXPRESSIONS.index("Anger")]
    probability = array(person["probability"], np.uint8).reshape(3, 8)
    np.testing.assert_allclose(probability[0, EXPRESSIONS.index("Happiness")] / 254, 0.65, atol=0.002)
    assert probability[1].tolist() == [255] * 8
    box = array(person["box"], "<i2").reshape(3, 4)
    np.testing.assert_allclose(box[[0, 2]] / 8192 * [160, 120, 160, 120], [[10, -6, 80, 120], [30, -6, 80, 120]], atol=0.01)
    assert box[1].tolist() == [-32768] * 4
    assert array(person["flags"], np.uint8).tolist() == [0b1111, 0, 0b1111]  # detected, scored, heard, seen
    np.testing.assert_allclose(array(person["gate"], np.uint8), [152, 255, 152], atol=1)


def test_a_person_who_appears_later_starts_at_a_later_frame():
    times = np.arange(20) / 10
    main, other = encode(analysis_rows("N" * 20, times), analysis_rows("HH.H", times, "person-2", first=8))["people"]
    assert (main["name"], main["first"], main["count"]) == ("main", 0, 20)
    assert (other["name"], other["first"], other["count"]) == ("person-2", 7, 4)


def test_missing_rows_of_a_further_person_are_missing_values():
    times, rows = np.arange(20) / 10, analysis_rows("HHHH", np.arange(20) / 10, "person-2", first=8)
    _, other = encode(analysis_rows("N" * 20, times), [rows[0], rows[3]])["people"]
    happy = EXPRESSIONS.index("Happiness")
    assert array(other["label"], np.uint8).tolist() == [happy, 255, 255, happy]


def test_a_table_of_some_frames_has_their_numbers():
    rows = analysis_rows("NNNN", np.arange(4) / 10)
    data = encode([rows[0], rows[1], rows[3]])
    assert array(data["frames"], "<i4").tolist() == [1, 2, 4]
    assert array(data["steps"], "<u4").tolist() == [100_000, 200_000]
    assert data["people"][0]["count"] == 3
    assert encode(rows)["frames"] is None


def test_a_model_without_a_voice_has_no_gate():
    assert encode(analysis_rows("NN", [0, 0.1], gate=None))["people"][0]["gate"] is None


def test_audio_levels_below_60_db_are_drawn_as_zero():
    level = AudioLevel(time=np.arange(4.0), level=np.array([0.0, -30.0, -90.0, np.nan]))
    audio = encode(analysis_rows("NN", [0, 0.1]), audio=level)["audio"]
    assert array(audio["level"], np.uint8).tolist() == [254, 127, 0, 255]
    assert array(audio["time"], "<f4").tolist() == [0, 1, 2, 3]


def test_an_empty_table_gives_no_people():
    data = encode([])
    assert (data["people"], data["steps"], data["end"]) == ([], "", 0.0)
