import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from analysis_rows import analysis_rows, analysis_table, long_table
from html_page import Page

from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.video.config import VideoPageConfig
from abaw_ray.report.video.inputs import AudioLevel, VideoPage, quote_relative
from abaw_ray.report.video.page import format_clock, render_video_page, write_video_page

TIMES = 0.5 + np.arange(60) / 25


def video_page(**changes):
    table = analysis_table(analysis_rows("N" * 30 + "H" * 20 + "." * 10, TIMES), analysis_rows("S" * 25, TIMES, "person-2", first=20))
    fields = {"title": "clip.mp4", "table": table, "width": 640, "height": 360, "video": "clip.mp4", "csv": "clip.csv", "index": "index.html"}
    return VideoPage(**(fields | changes))


def render(**changes):
    return Page(render_video_page(video_page(**changes)))


def test_facts_shares_and_episodes_of_each_person_are_on_the_page():
    text = render(notes=["trained on drawn faces", "audio: no decoder"]).text
    for words in ("2.4 s", "60 frames", "25 frames/s", "640 × 360", "2 people", "trained on drawn faces", "audio: no decoder"):
        assert words in text, words
    assert "Neutral 60.0 % 1.2 s 1" in text and "Happiness 40.0 % 0.8 s 1" in text
    assert "83 % of the time of 60 frames is scored" in text
    assert "0:00.50 1.20 s Neutral 65 %" in text and "0:01.70 0.80 s Happiness 65 %" in text
    assert "Expressions of person-2" in text and "0:01.26 1.00 s Sadness" in text


def test_the_page_loads_only_the_video_and_its_policy_allows_only_its_own_script():
    page = render()
    assert page.values("src") == [] and page.values("data-src") == ["clip.mp4"]
    assert sorted(page.values("href")) == ["clip.csv", "index.html"]
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    (policy,) = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy and "media-src 'self'" in policy


def test_the_text_of_the_page_names_no_other_host():
    assert not re.search(r"https?://|url\(|@import", render_video_page(video_page()))


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b <i>", "{{ 7 * 7 }}"])
def test_names_with_markup_are_escaped(name):
    table = analysis_table(analysis_rows("NNN", TIMES, name))
    page = render(title=name, table=table, notes=[name], video=name.replace("://", ""), csv=None, index=None)
    assert len(page.scripts) == 2
    assert not [attrs for tag, attrs in page.tags if tag == "img" or "onerror" in attrs]
    assert json.loads(page.scripts[0])["people"][0]["name"] == name
    assert " ".join(name.split()) in page.text


def test_paths_are_quoted_so_that_special_characters_stay_part_of_the_name():
    assert render(video="a #1 100%/clip?.mp4").values("data-src") == ["a%20%231%20100%25/clip%3F.mp4"]
    assert quote_relative("../media/ä:b.mp4") == "../media/%C3%A4%3Ab.mp4"


@pytest.mark.parametrize("path", ["/data/clip.mp4", "https://host/clip.mp4", "s3://bucket/clip.mp4", ""])
def test_a_path_that_is_not_relative_is_refused(path):
    with pytest.raises(ConfigError, match="not a relative path"):
        video_page(video=path)


def test_a_video_is_embedded_up_to_a_limit():
    page = render(video=b"\0\0\0\x20ftyp")
    assert base64.b64decode(page.scripts[0]) == b"\0\0\0\x20ftyp"
    assert "data-src" not in {name for _, attrs in page.tags for name in attrs}
    with pytest.raises(ConfigError, match=r"0.0 MB, more than max_embedded_mb=1e-06"):
        render_video_page(video_page(video=b"1234"), VideoPageConfig(max_embedded_mb=1e-6))


def test_without_a_playable_video_there_is_a_page_without_a_player():
    page = render(video=None)
    assert "video" not in [tag for tag, _ in page.tags]
    assert "no video that a browser can play" in page.text


def test_without_any_frame_the_page_shows_the_notes_and_has_no_script():
    page = render(table=video_page().table.slice(0, 0), notes=["not a media file"])
    assert "not a media file" in page.text and page.scripts == []


def test_expressions_that_the_model_does_not_have_are_not_on_the_page():
    table = analysis_table(analysis_rows("NNHH", TIMES, absent=["Other"]))
    text = render(table=table).text
    assert "Other" not in text and all(name in text for name in EXPRESSIONS if name != "Other")


def test_the_data_is_strict_json_without_nan():
    def refuse(constant):
        raise AssertionError(constant)

    level = AudioLevel(time=np.arange(3.0), level=np.array([-20.0, np.nan, -np.inf]))
    json.loads(render(audio=level).scripts[0], parse_constant=refuse)


def test_the_script_uses_only_elements_that_exist():
    page = render(video=b"1234")
    wanted = set(re.findall(r'\belement\("([a-z]+)"\)', page.scripts[-1])) | set(re.findall(r'getElementById\("([a-z]+)"\)', page.scripts[-1]))
    assert len(wanted) > 15
    assert wanted <= set(page.values("id"))
    assert set(re.findall(r'find\("([a-z]+)"\)', page.scripts[-1])) == set(page.values("data-show"))


def test_many_short_episodes_are_limited_and_counted():
    labels = "NH" * 40 + "AAAAASSSSS" * 20 + "H" * 20
    table = analysis_table(analysis_rows(labels, np.arange(len(labels)) / 25))
    assert "of at least 0.2 s: 41." in render(table=table).text
    page = Page(render_video_page(video_page(table=table), VideoPageConfig(max_episodes=5)))
    assert "of at least 0.2 s: the 5 longest of 41." in page.text
    assert page.values("data-seek") == ["81", "86", "91", "96", "281"]


def test_an_image_has_no_duration_and_no_rate():
    text = render(table=analysis_table(analysis_rows("N", [0.0])), end_s=0.0).text
    assert "1 frame · 640 × 360" in text and "frames/s" not in text
    assert "100 % of the time of 1 frame is scored" in text


def test_54000_frames_of_three_people_give_a_page_of_less_than_5_mb():
    table = long_table(analysis_table(analysis_rows("NNNNNHHHHHAAAAA" * 40, np.arange(600) / 30)), 90, ["main", "person-2", "person-3"])
    assert len(table) == 162_000
    assert len(render_video_page(video_page(table=table))) < 5_000_000


def test_the_same_input_gives_the_same_page_in_a_folder_or_a_storage(tmp_path: Path):
    address = write_video_page(tmp_path / "a", video_page(), name="clip.html")
    assert Path(address) == tmp_path / "a" / "clip.html"
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    write_video_page(storage, video_page(), name="deep/clip.html")
    assert storage.read_bytes("deep/clip.html") == Path(address).read_bytes()


def test_people_are_in_the_order_of_the_table_after_the_main_person():
    table = pa.concat_tables([analysis_table(analysis_rows("NN", TIMES, name)) for name in ("person-3", "main", "person-2")])
    assert [person["name"] for person in json.loads(render(table=table).scripts[0])["people"]] == ["main", "person-3", "person-2"]


def test_wrong_input_is_refused():
    with pytest.raises(ConfigError, match="0x360"):
        video_page(width=0)
    with pytest.raises(StageError, match="no column"):
        video_page(table=video_page().table.drop_columns(["gate"]))
    with pytest.raises(ConfigError, match="max_episodes=0"):
        VideoPageConfig(max_episodes=0)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00.00"), (59.999, "1:00.00"), (65.5, "1:05.50"), (3723.456, "1:02:03.46")])
def test_times_are_shown_as_minutes_and_seconds(seconds, text):
    assert format_clock(seconds) == text


def test_a_page_of_a_part_says_so_and_has_its_bounds_and_the_start_of_the_video():
    page = render(video_start=0.02, analyzed_from=0.48, analyzed_to=None)
    data = json.loads(page.scripts[0])
    assert (data["videoStart"], data["from"], data["to"]) == (0.02, 0.48, None)
    assert "analyzed from 0:00.50 to 0:02.90" in page.text and "shows the analyzed part" in page.text
    whole = render(video_start=0.5)
    assert "analyzed" not in whole.text.replace("not analyzed", "") and "shows the whole video" in whole.text


def test_a_page_without_rows_has_its_notes_and_no_player():
    page = render(table=video_page().table.slice(0, 0), video=None, notes=["no frame between 5 and 6 s"])
    assert "no frame between 5 and 6 s" in page.text and "640 × 360" in page.text
    assert not [tag for tag, _ in page.tags if tag in ("video", "canvas")]
