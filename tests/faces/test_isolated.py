"""A decoder that crashes, hangs or exhausts memory: one retry, the good frames, a reason, and no effect on other videos."""

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
from crashing import CrashingFaceWriter

from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.faces.chunk_result import ChunkResult
from abaw_ray.faces.config import DetectorConfig, FacesConfig, SegmentConfig
from abaw_ray.faces.isolated import IsolatedFaceWriter
from abaw_ray.faces.tracking.segments import Chunk
from abaw_ray.media.write import write_video

pytestmark = pytest.mark.slow

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192), segments=SegmentConfig(length_s=2.0, overlap_s=0.5))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "log"


def isolated_writer(log, seconds):
    isolated = IsolatedFaceWriter(CONFIG, ChildLimits(seconds=seconds, memory_mb=700))
    isolated.crash_retry.child = ChildProcess(partial(CrashingFaceWriter, CONFIG, log), isolated.crash_retry.child.limits)
    return isolated


@pytest.fixture(scope="module")
def writer(log):
    isolated = isolated_writer(log, 30)  # far beyond what a slow machine needs; no test waits for this limit
    yield isolated
    isolated.close()


@pytest.fixture
def writer_with_timeout(log):
    isolated = isolated_writer(log, 2)
    yield isolated
    isolated.close()


@pytest.fixture
def video(tmp_path, render, log):
    log.write_text("")

    def make(name, count=60):
        path = tmp_path / f"{name}.mp4"
        write_video(path, [render((60 + 0.3 * k, 70, 30)) for k in range(count)], np.arange(count) / 25, None, preset="ultrafast")
        return {"video": name, "uri": str(path), "subjects": []}

    return make


@pytest.mark.parametrize(("name", "kind", "reason"), [("crash-40", "writer", "SIGSEGV"), ("hang-40", "writer_with_timeout", "no progress for 2 s")])
def test_a_video_that_ends_two_child_processes_keeps_the_rows_of_its_good_frames(request, video, tmp_path, log, name, kind, reason):
    result = request.getfixturevalue(kind).write_video(video(name), tmp_path / "output.parquet")
    assert reason in str(result.error) and ", twice" in str(result.error) and result.error.last_frame == result.frames == 40
    rows = pq.read_table(tmp_path / "output.parquet").to_pylist()
    assert [row["frame"] for row in rows] == list(range(1, 41)) and all(row["seen"] for row in rows)
    assert len(log.read_text().split()) == 3, "two attempts, and a third for the good frames"


def test_a_video_that_ends_one_child_process_succeeds_on_the_retry(writer, video, tmp_path, log):
    result = writer.write_video(video("once-40"), tmp_path / "output.parquet")
    assert result.error is None and result.rows == result.frames == result.faces == 60
    assert log.read_text().split() == ["once", "once"]


def test_a_frame_that_crashes_the_detector_loses_no_frame_before_it(writer, video, tmp_path, log):
    result = writer.write_video(video("detect-30"), tmp_path / "output.parquet")
    assert "SIGSEGV" in str(result.error) and result.error.last_frame == result.frames == result.rows == 29
    assert len(log.read_text().split()) == 4


@pytest.mark.parametrize("name", ["exhaust-10", "enlarge-10"])
def test_a_video_that_exhausts_memory_keeps_its_good_frames_and_the_next_one_succeeds(writer, video, tmp_path, name):
    result = writer.write_video(video(name), tmp_path / "output.parquet")
    assert "more than 700 MB, twice; raise compute.limits.memory-mb" in str(result.error) and result.frames == 10
    assert writer.write_video(video("fine-1"), tmp_path / "output.parquet").rows == 60


def test_errors_of_the_work_itself_are_not_retried(writer, video, tmp_path, log):
    (tmp_path / "fine-2.mp4").write_text("no video")
    with pytest.raises(ItemError, match="not a video"):
        writer.write_video({"video": "v", "uri": str(tmp_path / "fine-2.mp4"), "subjects": []}, tmp_path / "output.parquet")
    with pytest.raises(DataError, match="no such file"):
        writer.write_video({"video": "v", "uri": str(tmp_path / "fine-3.mp4"), "subjects": []}, tmp_path / "output.parquet")
    assert len(log.read_text().split()) == 2


def test_a_chunk_whose_child_process_dies_ends_the_video_there(writer, video, tmp_path):
    crash, folders = video("crash-70", count=200), []
    for number, chunk in enumerate([Chunk(None, 1), Chunk(1, None)]):
        folders.append(tmp_path / f"chunk-{number}")
        folders[-1].mkdir()
        writer.write_chunk(crash, chunk, folders[-1])
    assert "SIGSEGV" in ChunkResult.read(folders[1]).error
    result = writer.join_chunks(crash, folders, tmp_path / "joined.parquet")
    assert "SIGSEGV" in str(result.error) and result.error.last_frame == result.frames == 70


def test_a_chunk_without_a_decodable_frame_keeps_the_frames_before_it(writer, video, tmp_path):
    crash, folders = video("crash-1", count=120), []
    for number, chunk in enumerate([Chunk(None, 1), Chunk(1, None)]):
        folders.append(tmp_path / f"chunk-{number}")
        folders[-1].mkdir()
        writer.write_chunk(crash, chunk, folders[-1])
    result = writer.join_chunks(crash, folders, tmp_path / "joined.parquet")
    assert result.frames == 1


def test_an_unexpected_exception_is_a_failure_of_its_video_that_names_it(writer, video, tmp_path):
    result = writer.write_video(video("defect-10"), tmp_path / "output.parquet")
    assert "by zero, twice; please report it with this video" in str(result.error) and str(result.error).startswith("ZeroDivisionError")
    assert result.frames == 10


def test_a_join_that_ends_two_child_processes_is_the_failure_of_its_video_only(writer, video, tmp_path):
    crash, folder = video("join-0"), tmp_path / "chunk"
    folder.mkdir()
    writer.write_chunk(crash, Chunk(), folder)
    with pytest.raises(ItemError, match="SIGSEGV"):
        writer.join_chunks(crash, [folder], tmp_path / "joined.parquet")
    assert writer.write_video(video("fine-1"), tmp_path / "output.parquet").rows == 60


@pytest.mark.parametrize("method", ["write_video", "join_chunks"])
def test_a_full_disk_is_a_storage_error_and_not_a_failure_of_the_video(video, tmp_path, method):
    isolated = IsolatedFaceWriter(CONFIG, ChildLimits())
    isolated.crash_retry.child = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(StorageError, match="No space left on device; the disk is full"):
        getattr(isolated, method)(*([video("v")] + [[]] * (method == "join_chunks")), tmp_path / "output.parquet")
