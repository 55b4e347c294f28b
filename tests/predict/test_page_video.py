"""The video of a page: linked or embedded, as it is or as a copy; and the files of a video are replaced when another analysis is made."""

import base64
import re
import shutil

import numpy as np
import pytest
from html_page import Page

from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.media.playback.playability import check_playability
from abaw_ray.media.write import write_video
from abaw_ray.predict.analyzer import Analyzer
from abaw_ray.predict.config import AnalysisConfig, OutputConfig
from abaw_ray.predict.output import page_video
from abaw_ray.predict.output.files import OutputWriter

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def analyzer(bundle):
    with Analyzer(str(bundle)) as analyzer:
        yield analyzer


@pytest.fixture(scope="module")
def videos(clip, tmp_path_factory):
    """One video that browsers play, and one that needs a copy."""
    folder = tmp_path_factory.mktemp("videos")
    shutil.copy(clip, folder / "plays.mp4")
    shutil.copy(clip, folder / "plays.mov")
    write_video(folder / "other.mkv", (np.full((64, 96, 3), 40 + k, np.uint8) for k in range(20)), np.arange(20) / 25, None)
    assert [check_playability(str(folder / name)).plays for name in ("plays.mp4", "other.mkv")] == [True, False]
    return folder


@pytest.fixture(scope="module")
def analyses(analyzer, videos):
    return {path.name: analyzer(path) for path in sorted(videos.iterdir())}


@pytest.fixture
def write(tmp_path):
    """A function that writes the files of an analysis to ``out``, as the command does; returns the notes."""

    def run(analysis, source="analysis/a/outputs/v.parquet", *, again=False, **config):
        writer = OutputWriter(Storage(StorageConfig(uri=str(tmp_path / "out"))), OutputConfig(**config), ChildLimits())
        try:
            return writer(analysis, "v", source, writer.output.files("", recursive=True) if again else None).notes
        finally:
            writer.close()

    return run


def embedded(path):
    """Media type and content of the video in a page; None without one."""
    page = Page(path.read_text())
    found = [attrs["data-type"] for tag, attrs in page.tags if tag == "script" and attrs.get("id") == "content"]
    return (found[0], base64.b64decode(page.scripts[0])) if found else None


def files(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize(("name", "media_type"), [("plays.mp4", "video/mp4"), ("plays.mov", "video/quicktime")])
def test_a_video_that_browsers_play_is_embedded_as_it_is(analyses, videos, tmp_path, name, media_type):
    path = analyses[name].report(tmp_path / "a.html", embed=True)
    assert embedded(path) == (media_type, (videos / name).read_bytes())
    assert "media-src blob:" in path.read_text() and "data-src" not in path.read_text()
    assert files(tmp_path) == ["a.html"]


def test_another_video_is_embedded_as_a_copy_and_no_copy_remains_beside_the_page(analyses, write, tmp_path):
    out = tmp_path / "out"
    assert write(analyses["other.mkv"]) == ()
    assert files(out) == ["v.csv", "v.html", "v.proxy.mp4"]
    assert write(analyses["other.mkv"], again=True, embed=True) == ()
    assert files(out) == ["v.csv", "v.html"]
    media_type, content = embedded(out / "v.html")
    (tmp_path / "content.mp4").write_bytes(content)
    assert media_type == "video/mp4" and check_playability(str(tmp_path / "content.mp4")).plays
    write(analyses["other.mkv"], again=True)
    assert files(out) == ["v.csv", "v.html", "v.proxy.mp4"] and embedded(out / "v.html") is None


def test_a_video_that_is_too_large_is_linked_and_the_note_has_its_size(analyses, write, tmp_path, monkeypatch):
    monkeypatch.setattr(page_video, "_MAX_EMBEDDED_MB", 1e-3)
    (note,) = write(analyses["plays.mp4"], embed=True)
    assert re.fullmatch(r"the video has 0\.\d MB, more than the 0\.001 MB that are embedded: it is a file of its own, linked by the page", note)
    page = Page((tmp_path / "out/v.html").read_text())
    assert page.values("data-src")[0].endswith("/plays.mp4") and embedded(tmp_path / "out/v.html") is None
    assert note in page.text
    assert write(analyses["plays.mp4"], again=True, embed=True) == (note,), "the note is repeated by a run that writes nothing"
    (note,) = write(analyses["other.mkv"], "analysis/a/outputs/w.parquet", embed=True)
    assert note.startswith("the copy of the video for browsers has") and "v.proxy.mp4" in files(tmp_path / "out")


def test_files_of_another_analysis_are_replaced_and_those_of_the_same_one_are_kept(analyses, analyzer, bundle, videos, write, tmp_path):
    out, whole = tmp_path / "out", analyses["other.mkv"]
    with Analyzer(str(bundle), config=AnalysisConfig(start=0.2, end=0.5)) as other:
        part = other(videos / "other.mkv")

    def state():
        return {name: ((out / name).stat().st_mtime_ns, (out / name).read_bytes()) for name in files(out)}

    write(whole, "a/whole.parquet", format="csv,parquet")
    first = state()
    assert write(whole, "a/whole.parquet", again=True, format="csv,parquet") == () and state() == first
    write(part, "b/whole.parquet", format="csv,parquet")
    second = state()
    assert all(second[name][1] != first[name][1] for name in first)
    write(whole, "a/whole.parquet", again=True, format="csv,parquet")
    assert {name: content for name, (_, content) in state().items()} == {name: content for name, (_, content) in first.items()}
    (out / "v.csv").unlink()
    before = state()
    write(whole, "a/whole.parquet", again=True)
    assert state()["v.csv"][1] == first["v.csv"][1]
    assert state()["v.html"] == before["v.html"], "only the missing file is written"


def test_an_interrupted_write_leaves_no_file_that_counts_as_written(analyses, write, tmp_path, monkeypatch):
    write(analyses["plays.mp4"], "a/v.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(page_video.PageVideoWriter, "__call__", lambda *_, **__: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception, match="interrupted"):
            write(analyses["plays.mov"], "b/v.parquet")
    assert "plays.mov" in (tmp_path / "out/v.csv").read_text()
    write(analyses["plays.mp4"], "a/v.parquet", again=True)
    assert "plays.mov" not in (tmp_path / "out/v.csv").read_text()


def test_a_page_of_an_empty_part_deletes_the_copy_of_a_former_one(analyses, bundle, videos, write, tmp_path):
    write(analyses["other.mkv"], "a/v.parquet")
    with Analyzer(str(bundle), config=AnalysisConfig(start=50.0)) as other:
        write(other(videos / "other.mkv"), "b/v.parquet")
    assert files(tmp_path / "out") == ["v.csv", "v.html"]


def test_a_remote_video_is_embedded(bundle, videos, tmp_path, object_store):
    object_store.create_bucket(Bucket="embedded")
    object_store.upload_file(str(videos / "plays.mp4"), "embedded", "plays.mp4")
    with Analyzer(str(bundle), config=AnalysisConfig(end=0.5)) as analyzer:
        path = analyzer("s3://embedded/plays.mp4").report(tmp_path / "a.html", embed=True)
    assert embedded(path) == ("video/mp4", (videos / "plays.mp4").read_bytes())
    assert files(tmp_path) == ["a.html"]
