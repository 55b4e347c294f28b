"""A decoder that crashes, hangs or eats memory: a second chance, the good frames, a reason, and nobody else is harmed."""

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
from crashing import Crashing

from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.faces.chunk_files import Piece
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.faces.isolated import GuardedParts
from abaw_ray.faces.tracking.segments import Span, StretchConfig
from abaw_ray.media.write import write_video

pytestmark = pytest.mark.slow
CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192), stretches=StretchConfig(seconds=2.0, overlap=0.5))


@pytest.fixture(scope="module")
def diary(tmp_path_factory):
    return tmp_path_factory.mktemp("diary") / "diary"


@pytest.fixture(scope="module")
def parts(diary):
    guarded = GuardedParts(CONFIG, ChildLimits(seconds=2, memory_mb=700))
    guarded.crash_retry.child = ChildProcess(partial(Crashing, CONFIG, diary), guarded.crash_retry.child.limits)
    yield guarded
    guarded.close()


@pytest.fixture
def video(tmp_path, draw, diary):
    diary.write_text("")

    def make(name, count=60):
        path = tmp_path / f"{name}.mp4"
        write_video(path, [draw((60 + 0.3 * k, 70, 30)) for k in range(count)], np.arange(count) / 25, None, preset="ultrafast")
        return {"video": name, "uri": str(path), "subjects": []}

    return make


@pytest.mark.parametrize(("name", "reason"), [("crash-40", "SIGSEGV"), ("hang-40", "no progress for 2 s")])
def test_a_video_that_ends_two_children_keeps_the_rows_of_its_good_frames(parts, video, tmp_path, diary, name, reason):
    done = parts.whole(video(name), tmp_path / "part.parquet")
    assert reason in str(done.broke) and ", twice" in str(done.broke) and done.broke.last_frame == done.frames == 40
    rows = pq.read_table(tmp_path / "part.parquet").to_pylist()
    assert [row["frame"] for row in rows] == list(range(1, 41)) and all(row["seen"] for row in rows)
    assert len(diary.read_text().split()) == 3, "two chances, and one more for the good frames"


def test_a_video_that_ends_a_child_once_is_as_good_as_any(parts, video, tmp_path, diary):
    done = parts.whole(video("once-40"), tmp_path / "part.parquet")
    assert done.broke is None and done.rows == done.frames == done.faces == 60
    assert diary.read_text().split() == ["once", "once"]


def test_a_picture_that_is_decoded_and_ends_the_child_that_looks_at_it_costs_no_picture_before_it(parts, video, tmp_path, diary):
    done = parts.whole(video("look-30"), tmp_path / "part.parquet")
    assert "SIGSEGV" in str(done.broke) and done.broke.last_frame == done.frames == done.rows == 29
    assert len(diary.read_text().split()) == 4


@pytest.mark.parametrize("name", ["eat-10", "enlarge-10"])
def test_a_video_that_eats_memory_keeps_its_good_frames_and_the_next_one_goes_well(parts, video, tmp_path, name):
    done = parts.whole(video(name), tmp_path / "part.parquet")
    assert "more than 700 MB, twice; raise compute.limits.memory-mb" in str(done.broke) and done.frames == 10
    assert parts.whole(video("fine-1"), tmp_path / "part.parquet").rows == 60


def test_what_the_work_itself_says_is_not_tried_twice(parts, video, tmp_path, diary):
    (tmp_path / "fine-2.mp4").write_text("no video")
    with pytest.raises(ItemError, match="not a video"):
        parts.whole({"video": "v", "uri": str(tmp_path / "fine-2.mp4"), "subjects": []}, tmp_path / "part.parquet")
    with pytest.raises(DataError, match="no such file"):
        parts.whole({"video": "v", "uri": str(tmp_path / "fine-3.mp4"), "subjects": []}, tmp_path / "part.parquet")
    assert len(diary.read_text().split()) == 2


def test_a_piece_whose_child_dies_breaks_there_and_the_video_with_it(parts, video, tmp_path):
    crash, folders = video("crash-70", count=200), []
    for number, span in enumerate([Span(None, 1), Span(1, None)]):
        folders.append(tmp_path / f"piece-{number}")
        folders[-1].mkdir()
        parts.cut(crash, span, folders[-1])
    assert "SIGSEGV" in Piece.read(folders[1]).broke
    done = parts.join(crash, folders, tmp_path / "joined.parquet")
    assert "SIGSEGV" in str(done.broke) and done.broke.last_frame == done.frames == 70


def test_a_piece_of_which_nothing_can_be_decoded_ends_the_video_before_it(parts, video, tmp_path):
    crash, folders = video("crash-1", count=120), []
    for number, span in enumerate([Span(None, 1), Span(1, None)]):
        folders.append(tmp_path / f"piece-{number}")
        folders[-1].mkdir()
        parts.cut(crash, span, folders[-1])
    done = parts.join(crash, folders, tmp_path / "joined.parquet")
    assert done.frames == 1


def test_a_defect_that_one_video_brings_to_light_is_its_failure_and_named(parts, video, tmp_path):
    done = parts.whole(video("defect-10"), tmp_path / "part.parquet")
    assert "by zero, twice; please report it with this video" in str(done.broke) and str(done.broke).startswith("ZeroDivisionError")
    assert done.frames == 10


def test_a_join_that_ends_two_children_is_the_videos_failure_and_ends_nothing_else(parts, video, tmp_path):
    one, folder = video("join-0"), tmp_path / "piece"
    folder.mkdir()
    parts.cut(one, Span(), folder)
    with pytest.raises(ItemError, match="SIGSEGV"):
        parts.join(one, [folder], tmp_path / "joined.parquet")
    assert parts.whole(video("fine-1"), tmp_path / "part.parquet").rows == 60


@pytest.mark.parametrize("what", ["whole", "join"])
def test_a_full_disk_is_no_fault_of_the_video(video, tmp_path, what):
    guarded = GuardedParts(CONFIG, ChildLimits())
    guarded.crash_retry.child = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(StorageError, match="No space left on device; the disk is full"):
        getattr(guarded, what)(*([video("v")] + [[]] * (what == "join")), tmp_path / "part.parquet")
