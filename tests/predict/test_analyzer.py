import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from damaged_packets import damage_packets

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError, DataError, ItemError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.media.video import decode
from abaw_ray.predict.analysis import read_analysis
from abaw_ray.predict.analyzer import Analyzer, analyze
from abaw_ray.predict.config import AnalysisConfig
from abaw_ray.predict.output.summary import SUMMARY, summarize

pytestmark = pytest.mark.slow
PROBABILITIES = [f"p_{name.lower()}" for name in EXPRESSIONS]


@pytest.fixture(scope="module")
def analyzer(bundle):
    with Analyzer(str(bundle)) as analyzer:
        yield analyzer


@pytest.fixture(scope="module")
def result(analyzer, clip):
    return analyzer(clip)


def test_every_frame_of_a_clip_gets_a_row_with_probabilities_and_its_time(result, scene):
    table = result.table
    assert table.schema.equals(schema.ANALYSIS)
    assert table["frame"].to_pylist() == list(range(1, len(scene.times) + 1))
    np.testing.assert_allclose(table["time"].to_numpy(), scene.times, atol=1e-4)
    frame = result.to_pandas()
    assert frame["seen"].mean() > 0.8
    np.testing.assert_allclose(frame[PROBABILITIES].sum(axis=1), 1, atol=1e-5)
    assert (frame["label"] == frame[PROBABILITIES].idxmax(axis=1).str.removeprefix("p_").str.title()).all()
    np.testing.assert_allclose(frame["confidence"], frame[PROBABILITIES].max(axis=1), atol=1e-6)
    assert (frame["gate"].between(0, 1) == (frame["seen"] | frame["heard"])).all()
    assert frame["heard"].mean() > 0.8
    assert result.video.audio == "present"
    assert (result.video.width, result.video.height) == (320, 240)
    assert result.level is not None
    assert result.thumbnail[:2] == b"\xff\xd8"


def test_results_of_a_model_trained_on_generated_faces_say_so(result):
    assert result.model.notices[0].startswith("This model was trained on generated faces")


def test_boxes_are_those_of_the_face(result, scene):
    frame = result.to_pandas().dropna(subset=["box_x0"])
    width = frame["box_x1"] - frame["box_x0"]
    assert ((width > 30) & (width < 200)).all()
    assert frame["source"].isin(["detected", "followed", "interpolated"]).all()


def test_a_result_is_the_same_after_it_was_written_and_read(result, tmp_path):
    again = read_analysis(result.to_parquet(tmp_path / "a.parquet"))
    assert again.table.equals(result.table)
    assert (again.video, again.model, again.notes, again.settings) == (result.video, result.model, result.notes, result.settings)
    np.testing.assert_allclose(again.level.dbfs, result.level.dbfs, atol=0.051)
    assert again.thumbnail == result.thumbnail


def test_the_csv_opens_in_pandas_with_empty_missing_values_and_0_or_1(result, tmp_path):
    frame = pd.read_csv(result.to_csv(tmp_path / "a.csv"))
    assert list(frame.columns) == schema.ANALYSIS.names
    assert set(frame["seen"]) <= {0, 1}
    np.testing.assert_array_equal(frame["box_x0"].isna(), frame["seen"] == 0)
    np.testing.assert_allclose(frame[PROBABILITIES], result.to_pandas()[PROBABILITIES], atol=1e-6)


def test_the_summary_has_the_shares_of_the_person(result):
    rows = summarize(result)
    assert rows.schema.equals(SUMMARY)
    assert rows["person"].to_pylist() == ["main"]
    row = rows.to_pylist()[0]
    shares = [row[f"share_{name.lower()}"] for name in EXPRESSIONS]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert row["dominant"] == EXPRESSIONS[int(np.argmax(shares))]
    assert sum(row[f"mean_{name.lower()}"] for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)


def test_a_lower_rate_scores_the_nearest_frames_and_keeps_their_numbers(bundle, clip, result, tmp_path):
    with Analyzer(str(bundle), config=AnalysisConfig(fps=5)) as analyzer:
        sparse = analyzer(clip)
    assert "<video" in sparse.report(tmp_path / "clip.html").read_text()
    assert sparse.overlay(tmp_path / "clip.mp4").is_file()
    assert 11 <= len(sparse.table) <= 14
    numbers = sparse.table["frame"].to_numpy()
    assert numbers[0] == 1
    assert set(zip(numbers, sparse.table["time"].to_numpy(), strict=True)) <= set(
        zip(result.table["frame"].to_numpy(), result.table["time"].to_numpy(), strict=True)
    )


def test_a_video_without_face_and_sound_has_rows_without_scores_and_a_note(analyzer, make_clip):
    result = analyzer(make_clip("plain.mp4"))
    frame = result.to_pandas()
    assert len(frame) == 8
    assert not frame[["seen", "heard", "scored"]].any(axis=None)
    assert frame[[*PROBABILITIES, "label", "box_x0", "gate"]].isna().all(axis=None)
    assert result.notes == ("no face in 8 frames: no frame is scored; lower --min-score finds more uncertain faces",)
    assert result.thumbnail is None
    row = summarize(result).to_pylist()[0]
    assert row["share_seen"] == row["share_scored"] == 0
    assert row["dominant"] is None


def test_a_video_without_face_is_scored_by_its_sound(analyzer, make_clip):
    tone = 0.3 * np.sin(np.arange(16_000) * 0.1).astype(np.float32)
    result = analyzer(make_clip("voice.mp4", audio=tone))
    assert result.to_pandas()["scored"].all()
    assert "scored by the sound alone" in result.notes[0]


@pytest.mark.parametrize(("kind", "found"), [("video", "decoding stopped"), ("audio", "its audio has gaps")])
def test_damage_at_which_a_browser_stops_is_found_and_the_page_gets_a_copy(analyzer, clip, tmp_path, kind, found):
    copy = Path(shutil.copy(clip, tmp_path / "copy.mp4"))
    damage_packets(copy, kind, 1.0, 1.4)
    result = analyzer(copy)
    assert result.video.damage.startswith(found)
    assert 'data-src="page.proxy.mp4"' in result.report(tmp_path / "page.html").read_text()
    assert len(result.table) == sum(1 for _ in decode(str(tmp_path / "page.proxy.mp4")))


def test_an_intact_video_is_played_as_it_is(result, clip, tmp_path):
    assert result.video.damage == ""
    result.report(tmp_path / "page.html")
    assert not (tmp_path / "page.proxy.mp4").exists()


def test_files_that_are_no_videos_and_missing_ones_are_named(analyzer, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ItemError):
        analyzer(tmp_path / "text.mp4")
    with pytest.raises(DataError, match="gone.mp4"):
        analyzer(tmp_path / "gone.mp4")


def test_without_a_model_the_ways_to_get_one_are_named(clip):
    with pytest.raises(ConfigError, match="no model was given, and there is no default one; give the folder model/"):
        analyze(clip, "")
