"""A long video among several workers: who does what, what is kept, who puts it together; without Ray."""

import itertools
import os
import signal
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from abaw_ray.cluster.engine.worker import Unfinished
from abaw_ray.cluster.stages.video_chunks import _spans, divided, do_share
from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.faces.output import WriteParts
from abaw_ray.faces.tracking.segments import StretchConfig
from abaw_ray.media.write import write_video

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192), stretches=StretchConfig(seconds=2.0, overlap=0.5))


class Parts(WriteParts):
    """In this process, with the calls noted."""

    def __init__(self):
        self.crop, self.calls = CropFaces(CONFIG, lambda rgb, smallest: []), []

    def cut(self, *args):
        self.calls.append("cut")
        return super().cut(*args)

    def whole(self, *args):
        self.calls.append("whole")
        return super().whole(*args)


@pytest.fixture
def video(tmp_path):
    def make(name="v.mp4", count=250):
        path = tmp_path / name
        pictures = [np.full((48, 64, 3), k % 200, np.uint8) for k in range(count)]
        write_video(path, pictures, np.arange(count) / 25, None, preset="ultrafast")
        return {"video": name, "uri": str(path), "identity": "1", "subjects": [], "size": path.stat().st_size}

    return make


@pytest.fixture
def store(tmp_path):
    return StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "faces", CONFIG, 1)


def tasks(video, minutes=4 / 60):
    item = Item(name=video["video"], identity="1")
    return divided({item: video}, CONFIG.stretches, workers=2, minutes=minutes)


def test_only_what_would_hold_up_the_others_is_shared_out(video):
    large, small = video("large.mp4", 500), video("small.mp4", 50)
    todo = {Item(name=one["video"], identity="1"): one for one in (large, small)}
    shared = divided(todo, CONFIG.stretches, workers=2, minutes=4 / 60)
    names = [item.name for item, _ in shared]
    assert names.count("small.mp4") == 1 and names.count("large.mp4") == 5
    assert sum(body["size"] for _, body in shared) == pytest.approx(large["size"] + small["size"])
    for options in ({"workers": 1, "minutes": 4 / 60}, {"workers": 2, "minutes": 0}):
        assert len(divided(todo, CONFIG.stretches, **options)) == 2
    many = {Item(name=str(number), identity="1"): small for number in range(50)}
    assert len(divided(many, CONFIG.stretches, workers=2, minutes=1 / 60)) == 50


@pytest.mark.parametrize("length", [1e6, 1e12, float("inf")])
def test_a_header_that_speaks_of_ages_makes_no_more_pieces_than_its_bytes_could_fill(length):
    spans = _spans(lambda uri: (0.0, length), {"uri": "v.mkv", "size": 4_000_000}, StretchConfig(), 4.0)
    assert len(spans) == 17 and spans[0].first is None and spans[-1].stop is None
    assert len(_spans(lambda uri: (0.0, length), {"uri": "v.mkv", "size": 10**12}, StretchConfig(), 4.0)) <= 1001


def deadly():
    """In the place of ``header_reader``."""
    return lambda uri: os.kill(os.getpid(), signal.SIGSEGV)


def test_a_header_that_ends_its_reader_costs_nobody_else_anything(video, monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.stages.video_chunks.header_reader", deadly)
    assert len(tasks(video())) == 1


def test_a_file_that_cannot_be_opened_is_left_to_whoever_decodes_it(tmp_path):
    (tmp_path / "letter.mp4").write_text("dear reader")
    assert len(tasks({"video": "v", "uri": str(tmp_path / "letter.mp4"), "subjects": [], "size": 11})) == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_who_finds_all_pieces_puts_them_together_whatever_the_order(video, store, tmp_path, order):
    parts, shared = Parts(), tasks(video())
    assert len(shared) == 3
    results = [do_share(parts, store, *shared[number]) for number in order]
    assert [isinstance(result, Unfinished) for result in results] == [True, True, False]
    assert sum(result["frames"] for result in results) == 250 and results[-1]["rows"] == 250
    item, body = shared[0]
    parts.whole(body, tmp_path / "whole.parquet")
    assert pq.read_table(tmp_path / "runs" / store.output(item)) == pq.read_table(tmp_path / "whole.parquet")
    assert not store.storage.exists(f"{store.path}/pieces/{item.key}")
    assert not list((tmp_path / "runs" / store.path / "pieces").iterdir()), "nothing is left of the pieces"


def test_after_a_kill_only_missing_pieces_are_decoded(video, store):
    shared, first, second = tasks(video()), Parts(), Parts()
    do_share(first, store, *shared[1])
    results = [do_share(second, store, *task) for task in shared]
    assert second.calls == ["cut", "cut"] and results[-1]["rows"] == 250


def test_pieces_that_are_all_there_are_put_together_without_decoding(video, store, monkeypatch):
    shared = tasks(video())
    with monkeypatch.context() as killed:
        killed.setattr("abaw_ray.cluster.stages.video_chunks._joined", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        do_share(Parts(), store, *shared[0])
        do_share(Parts(), store, *shared[1])
        with pytest.raises(KeyboardInterrupt):
            do_share(Parts(), store, *shared[2])
    parts = Parts()
    assert do_share(parts, store, *shared[0])["rows"] == 250 and parts.calls == []


def test_pieces_outlive_a_store_that_does_not_take_the_whole(video, store, monkeypatch):
    shared, parts = tasks(video()), Parts()
    put = type(store.storage).put_file

    def refuse(storage, local, path):
        if path == store.output(shared[0][0]):
            raise StorageError("the store is full")
        put(storage, local, path)

    with monkeypatch.context() as full:
        full.setattr(type(store.storage), "put_file", refuse)
        for task in shared[:-1]:
            do_share(parts, store, *task)
        with pytest.raises(StorageError, match="full"):
            do_share(parts, store, *shared[-1])
    parts.calls = []
    assert do_share(parts, store, *shared[-1])["rows"] == 250 and parts.calls == []


def test_a_file_that_cannot_be_entered_in_its_middle_is_decoded_from_its_beginning(video, store, monkeypatch):
    from abaw_ray.media import video as media

    decode = media.decode

    def without_seeking(uri, *, start=None, **options):
        if start is not None:
            raise media.SeekError("no index")
        return decode(uri, **options)

    monkeypatch.setattr("abaw_ray.faces.crop.decode", without_seeking)
    parts = Parts()
    results = [do_share(parts, store, *task) for task in tasks(video())]
    assert results[-1]["rows"] == 250 and parts.calls.count("whole") == 1


def test_a_shared_video_that_breaks_keeps_its_good_rows_and_says_where(video, store, tmp_path):
    import av

    broken = video("v.mkv")
    with av.open(broken["uri"]) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "v.mkv"
    path.write_bytes(path.read_bytes().replace(packets[130], b"\xff" * len(packets[130])))
    shared = tasks(broken)
    run = partial(do_share, Parts(), store)
    for task in shared[:-1]:
        assert isinstance(run(*task), Unfinished)
    with pytest.raises(ItemError) as caught:
        run(*shared[-1])
    item = shared[0][0]
    rows = pq.read_table(tmp_path / "runs" / store.output(item)).num_rows
    assert caught.value.last_frame == rows == store.failures([item])[item.name]["last_frame"]
    assert 100 < rows < 250 and store.done([item]) == {item.name}
    again = Parts()
    with pytest.raises(ItemError):  # as with --retry-failures: its part is there, and it is decoded once more
        [do_share(again, store, *task) for task in shared]
    assert again.calls == ["cut"] * len(shared)


def test_a_shared_video_that_broke_before_its_first_row_is_decoded_again_when_it_is_tried_again(video, store):
    class Poor(Parts):
        poor = True

        def join(self, *args):
            if self.poor:
                raise ItemError("it needs more than 9 MB, twice")
            return super().join(*args)

    parts, shared = Poor(), tasks(video())
    for task in shared[:-1]:
        do_share(parts, store, *task)
    with pytest.raises(ItemError, match="9 MB"):
        do_share(parts, store, *shared[-1])
    assert not store.storage.exists(f"{store.path}/pieces/{shared[0][0].key}")
    parts.poor, parts.calls = False, []
    assert [do_share(parts, store, *task) for task in shared][-1]["rows"] == 250 and parts.calls == ["cut"] * len(shared)


def test_all_shares_together_are_the_whole_video(video):
    spans = tasks(video())[0][1]["share"]["spans"]
    assert spans[0][0] is None and spans[-1][1] is None and all(a[1] == b[0] for a, b in itertools.pairwise(spans))
