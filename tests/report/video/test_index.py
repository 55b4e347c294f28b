import json

import pytest
from html_page import Page

from abaw_ray.core.errors import ConfigError
from abaw_ray.report.video.config import IndexConfig
from abaw_ray.report.video.index import render_index, write_index
from abaw_ray.report.video.inputs import IndexRow, VideoIndex

ROWS = [
    IndexRow(title="a.mp4", page="a.html", thumbnail=b"JPEG1", duration_s=12.34567, people=2, seen=0.91, shares={"Happiness": 0.75, "Neutral": 0.25}),
    IndexRow(title="b.mp4", page="b #2.html", thumbnail="thumbs/b.jpg", duration_s=3700.0, people=1, seen=0.0, failure="decoding stopped at frame 7"),
    IndexRow(title="c.mp4", failure="not a media file"),
]


def render(rows=ROWS, config=None, **fields):
    return Page(render_index(VideoIndex(rows=rows, **fields), config))


def test_the_list_has_all_rows_as_data_and_states_the_totals():
    page = render(notes=["research only"])
    data = json.loads(page.scripts[0])
    assert data["title"] == ["a.mp4", "b.mp4", "c.mp4"] and data["page"] == ["a.html", "b%20%232.html", None]
    assert data["failure"] == [None, "decoding stopped at frame 7", "not a media file"]
    assert data["thumbnail"] == ["data:image/jpeg;base64,SlBFRzE=", "thumbs/b.jpg", None]
    assert (data["duration"], data["people"], data["seen"]) == ([12.35, 3700.0, None], [2, 1, None], [0.91, 0.0, None])
    for words in ("Analyzed videos", "3 videos", "2 failed", "1 h 01 min in all", "3 people", "research only", "only failures (2)"):
        assert words in page.text, words


def test_the_list_loads_only_images_and_its_policy_allows_only_its_own_script():
    page = render()
    (policy,) = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "img-src 'self' data:" in policy and "unsafe-inline" not in policy.split("script-src")[1]
    assert page.values("src") == []


def test_thumbnails_beyond_the_limit_are_left_out_and_the_list_says_so():
    rows = [IndexRow(title=f"{i}", thumbnail=b"x" * 400_000) for i in range(5)]
    page = render(rows, IndexConfig(max_thumbnail_mb=1.0))
    assert [image is not None for image in json.loads(page.scripts[0])["thumbnail"]] == [True, True, False, False, False]
    assert "3 thumbnails are left out" in page.text


def test_100000_rows_give_one_page_of_rows_and_compact_data():
    rows = [
        IndexRow(title=f"video {i}.mp4", page=f"pages/{i}.html", duration_s=60.0, people=1, seen=0.9, shares={"Anger": 1.0}) for i in range(100_000)
    ]
    text = render_index(VideoIndex(rows=rows))
    assert len(text) < 12_000_000
    assert len(Page(text).tags) < 100


@pytest.mark.parametrize("name", ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_names_with_markup_are_escaped(name):
    page = render([IndexRow(title=name, failure=name)], notes=[name])
    assert len(page.scripts) == 2 and json.loads(page.scripts[0])["title"] == [name]
    assert not [attrs for tag, attrs in page.tags if tag == "img" or "onerror" in attrs]


def test_an_empty_list_is_a_page(tmp_path):
    write_index(tmp_path, VideoIndex(rows=[]), name="list.html")
    assert "0 videos · none failed" in Page((tmp_path / "list.html").read_text()).text


def test_wrong_input_is_refused():
    with pytest.raises(ConfigError, match="not a relative path"):
        IndexRow(title="a", page="/a.html")
    with pytest.raises(ConfigError, match=r"unknown expressions \['Joy'\]"):
        IndexRow(title="a", shares={"Joy": 1.0})
    with pytest.raises(ConfigError, match="rows_per_page=0"):
        IndexConfig(rows_per_page=0)
