"""A long video divided among several workers: tasks, stored chunk results, and the join; without Ray."""

import itertools
import os
import signal
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from abaw_ray.cluster.engine.workers.worker import Unfinished
from abaw_ray.cluster.stages.video_chunks import _chunks_of, process_chunk, split_videos
from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import DetectorConfig, FacesConfig, SegmentConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.output import FaceWriter
from abaw_ray.media.write import write_video

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192), segments=SegmentConfig(length_s=2.0, overlap_s=0.5))


class RecordingWriter(FaceWriter):
    """A writer that runs in this process and records its calls."""

    def __init__(self):
        self.crop, self.calls = CropFaces(CONFIG, lambda rgb, min_size: []), []

    def write_chunk(self, *args):
        self.calls.append("write_chunk")
        return super().write_chunk(*args)

    def write_video(self, *args):
        self.calls.append("write_video")
        return super().write_video(*args)


@pytest.fixture
def video(tmp_path):
    def make(name="v.mp4", count=250):
        path = tmp_path / name
        images = [np.full((48, 64, 3), k % 200, np.uint8) for k in range(count)]
        write_video(path, images, np.arange(count) / 25, None, preset="ultrafast")
        return {"video": name, "uri": str(path), "identity": "1", "subjects": [], "size": path.stat().st_size}

    return make


@pytest.fixture
def store(tmp_path):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", CONFIG, 1)


def tasks(video, minutes=4 / 60):
    item = Item(name=video["video"], identity="1")
    return split_videos({item: video}, CONFIG.segments, workers=2, minutes=minutes)


def test_only_videos_that_would_delay_the_end_are_divided(video):
    large, small = video("large.mp4", 500), video("small.mp4", 50)
    todo = {Item(name=one["video"], identity="1"): one for one in (large, small)}
    split = split_videos(todo, CONFIG.segments, workers=2, minutes=4 / 60)
    names = [item.name for item, _ in split]
    assert names.count("small.mp4") == 1 and names.count("large.mp4") == 5
    assert sum(payload["size"] for _, payload in split) == pytest.approx(large["size"] + small["size"])
    for options in ({"workers": 1, "minutes": 4 / 60}, {"workers": 2, "minutes": 0}):
        assert len(split_videos(todo, CONFIG.segments, **options)) == 2
    many = {Item(name=str(number), identity="1"): small for number in range(50)}
    assert len(split_videos(many, CONFIG.segments, workers=2, minutes=1 / 60)) == 50


@pytest.mark.parametrize("length", [1e6, 1e12, float("inf")])
def test_a_header_with_an_implausible_duration_gives_no_more_chunks_than_the_file_size_allows(length):
    chunks = _chunks_of(lambda uri: (0.0, length), {"uri": "v.mkv", "size": 4_000_000}, SegmentConfig(), 4.0)
    assert len(chunks) == 17 and chunks[0].first is None and chunks[-1].stop is None
    assert len(_chunks_of(lambda uri: (0.0, length), {"uri": "v.mkv", "size": 10**12}, SegmentConfig(), 4.0)) <= 1001


def crashing_reader():
    """Replaces ``header_reader``: its function crashes the process."""
    return lambda uri: os.kill(os.getpid(), signal.SIGSEGV)


def test_a_header_that_crashes_its_reader_leaves_the_video_undivided(video, monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.stages.video_chunks.header_reader", crashing_reader)
    assert len(tasks(video())) == 1


def test_a_file_that_cannot_be_opened_is_one_task(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    assert len(tasks({"video": "v", "uri": str(tmp_path / "text.mp4"), "subjects": [], "size": 11})) == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_worker_that_finds_all_results_joins_them_in_any_order(video, store, tmp_path, order):
    writer, split = RecordingWriter(), tasks(video())
    assert len(split) == 3
    results = [process_chunk(writer, store, *split[number]) for number in order]
    assert [isinstance(result, Unfinished) for result in results] == [True, True, False]
    assert sum(result["frames"] for result in results) == 250 and results[-1]["rows"] == 250
    item, payload = split[0]
    writer.write_video(payload, tmp_path / "whole.parquet")
    assert pq.read_table(tmp_path / "runs" / store.output(item)) == pq.read_table(tmp_path / "whole.parquet")
    assert not store.storage.exists(f"{store.path}/chunks/{item.key}")
    assert not list((tmp_path / "runs" / store.path / "chunks").iterdir()), "no chunk result is left"


def test_after_a_kill_only_missing_chunks_are_decoded(video, store):
    split, first, second = tasks(video()), RecordingWriter(), RecordingWriter()
    process_chunk(first, store, *split[1])
    results = [process_chunk(second, store, *task) for task in split]
    assert second.calls == ["write_chunk", "write_chunk"] and results[-1]["rows"] == 250


def test_stored_chunk_results_are_joined_without_decoding(video, store, monkeypatch):
    split = tasks(video())
    with monkeypatch.context() as killed:
        killed.setattr("abaw_ray.cluster.stages.video_chunks._join", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        process_chunk(RecordingWriter(), store, *split[0])
        process_chunk(RecordingWriter(), store, *split[1])
        with pytest.raises(KeyboardInterrupt):
            process_chunk(RecordingWriter(), store, *split[2])
    writer = RecordingWriter()
    assert process_chunk(writer, store, *split[0])["rows"] == 250 and writer.calls == []


def test_chunk_results_are_kept_where_the_output_cannot_be_stored(video, store, monkeypatch):
    split, writer = tasks(video()), RecordingWriter()
    put = type(store.storage).put_file

    def refuse(storage, local, path):
        if path == store.output(split[0][0]):
            raise StorageError("the store is full")
        put(storage, local, path)

    with monkeypatch.context() as full:
        full.setattr(type(store.storage), "put_file", refuse)
        for task in split[:-1]:
            process_chunk(writer, store, *task)
        with pytest.raises(StorageError, match="full"):
            process_chunk(writer, store, *split[-1])
    writer.calls = []
    assert process_chunk(writer, store, *split[-1])["rows"] == 250 and writer.calls == []


def test_a_file_without_seeking_is_decoded_from_its_start(video, store, monkeypatch):
    from abaw_ray.media import video as media

    decode = media.decode

    def without_seeking(uri, *, start=None, **options):
        if start is not None:
            raise media.SeekError("no index")
        return decode(uri, **options)

    monkeypatch.setattr("abaw_ray.faces.crop.decode", without_seeking)
    writer = RecordingWriter()
    results = [process_chunk(writer, store, *task) for task in tasks(video())]
    assert results[-1]["rows"] == 250 and writer.calls.count("write_video") == 1


def test_a_damaged_divided_video_keeps_its_good_rows_and_reports_the_frame(video, store, tmp_path):
    import av

    broken = video("v.mkv")
    with av.open(broken["uri"]) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "v.mkv"
    path.write_bytes(path.read_bytes().replace(packets[130], b"\xff" * len(packets[130])))
    split = tasks(broken)
    run = partial(process_chunk, RecordingWriter(), store)
    for task in split[:-1]:
        assert isinstance(run(*task), Unfinished)
    with pytest.raises(ItemError) as caught:
        run(*split[-1])
    item = split[0][0]
    rows = pq.read_table(tmp_path / "runs" / store.output(item)).num_rows
    assert caught.value.last_frame == rows == store.failures([item])[item.name]["last_frame"]
    assert 100 < rows < 250 and store.done([item]) == {item.name}
    again = RecordingWriter()
    with pytest.raises(ItemError):  # as with --retry-failures: its output exists, and it is decoded again
        [process_chunk(again, store, *task) for task in split]
    assert again.calls == ["write_chunk"] * len(split)


def test_a_divided_video_that_failed_before_its_first_row_is_decoded_again_on_a_retry(video, store):
    class LowMemory(RecordingWriter):
        low_memory = True

        def join_chunks(self, *args):
            if self.low_memory:
                raise ItemError("it needs more than 9 MB, twice")
            return super().join_chunks(*args)

    writer, split = LowMemory(), tasks(video())
    for task in split[:-1]:
        process_chunk(writer, store, *task)
    with pytest.raises(ItemError, match="9 MB"):
        process_chunk(writer, store, *split[-1])
    assert not store.storage.exists(f"{store.path}/chunks/{split[0][0].key}")
    writer.low_memory, writer.calls = False, []
    assert [process_chunk(writer, store, *task) for task in split][-1]["rows"] == 250 and writer.calls == ["write_chunk"] * len(split)


def test_the_chunks_cover_the_whole_video(video):
    bounds = tasks(video())[0][1]["chunk"]["bounds"]
    assert bounds[0][0] is None and bounds[-1][1] is None and all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
