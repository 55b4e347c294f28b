import io
from contextlib import contextmanager
from pathlib import Path

import av
import boto3
import numpy as np
import pyarrow as pa
import pytest
from fault_proxy import FaultProxy
from moto.server import ThreadedMotoServer

from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.media import remote
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.video import decode

pytestmark = pytest.mark.slow
URI = "s3://data/clip"


@pytest.fixture(scope="module")
def server():
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def store(server, monkeypatch):
    """A fault proxy before an S3 server, which is the environment's endpoint; ``put`` and ``delete`` change the object that these tests read."""
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    monkeypatch.setattr(remote, "_BLOCK", 32768)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    client = boto3.client("s3", region_name="us-east-1", endpoint_url="http://{}:{}".format(*server))
    client.create_bucket(Bucket="data")
    proxy = FaultProxy(server)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    proxy.put = lambda body: client.put_object(Bucket="data", Key="clip", Body=body)
    proxy.delete = lambda: client.delete_object(Bucket="data", Key="clip")
    yield proxy
    proxy.shutdown()
    proxy.server_close()


@pytest.fixture
def clip(tmp_path):
    """A function that writes 100 frames of noise (2.5 KB each, a key frame every ten) with audio; returns the path."""

    def make(name="clip.mkv", group=10, **options) -> str:
        rng, path = np.random.default_rng(0), str(tmp_path / name)
        with av.open(path, "w", options=options) as container:
            video = container.add_stream("libx264", rate=25, options={"crf": "30", "preset": "ultrafast", "g": str(group)})
            video.width, video.height, video.pix_fmt, video.codec_context.gop_size = 160, 120, "yuv420p", group
            audio = container.add_stream("pcm_s16le" if name.endswith("mkv") else "aac", rate=16000, layout="mono")
            for number in range(100):
                container.mux(video.encode(av.VideoFrame.from_ndarray(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))))
                block = av.AudioFrame.from_ndarray(rng.integers(-3000, 3000, (1, 640)).astype(np.int16), layout="mono")
                block.sample_rate, block.pts = 16000, 640 * number
                container.mux(audio.encode(block))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))
        return path

    return make


def contents(uri, **options):
    return [(frame.number, frame.time, frame.rgb().tobytes()) for frame in decode(uri, **options)]


@pytest.mark.parametrize("fault", ["reset", "503", "cut"])
def test_a_connection_that_breaks_within_a_video_loses_no_frame_and_no_audio(clip, store, fault):
    path = clip()
    store.put(Path(path).read_bytes())
    whole = contents(path)
    store.fault = lambda number: fault if 3 <= number < 7 else None  # one more than pyarrow itself retries
    assert contents(URI) == whole and store.gets > 10
    np.testing.assert_array_equal(decode_audio(URI).samples, decode_audio(path).samples)


def test_a_connection_that_stays_broken_raises_a_storage_error_after_the_good_frames(clip, store, monkeypatch):
    path, frames = clip("clip.ts"), []  # libav gives an incomplete frame where such a file ends
    store.put(Path(path).read_bytes())
    monkeypatch.setattr(remote, "_ATTEMPTS", 2)
    monkeypatch.setattr(remote, "_CACHED_BLOCKS", 1)

    def with_fault():
        for frame in decode(URI):
            yield frame.number, frame.time, frame.rgb().tobytes()
            if frame.number == 5:
                store.fault, store.gets = lambda number: "reset", 0

    with pytest.raises(StorageError, match=f"{URI}: .*; reading was interrupted"):
        frames.extend(with_fault())
    assert 5 <= len(frames) < 90 and frames == contents(path)[: len(frames)]
    assert store.gets <= 2 * 4  # two attempts, each of up to four requests by pyarrow, and no more, although libav reads again
    store.fault = lambda number: "reset" if number > 4 else None
    store.gets = 0
    with pytest.raises(StorageError, match="reading was interrupted"):
        decode_audio(URI)


def test_a_connection_that_breaks_during_a_seek_raises_a_storage_error_not_a_seek_error(clip, store, monkeypatch):
    store.put(Path(clip("v.mp4")).read_bytes())
    monkeypatch.setattr(remote, "_ATTEMPTS", 1)
    list(decode(URI, start=0.0, max_frames=1))
    opening, store.gets = store.gets, 0
    store.fault = lambda number: "reset" if number > opening else None
    with pytest.raises(StorageError, match="reading was interrupted"):
        list(decode(URI, start=2.0))


@pytest.mark.parametrize("change", ["shorter", "other", "deleted"])
def test_a_video_that_is_replaced_while_it_is_read_raises_a_storage_error(clip, store, change):
    data = Path(clip()).read_bytes()
    store.put(data)

    def swap(number):
        if number == 4:
            {"shorter": lambda: store.put(data[:-40000]), "other": lambda: store.put(data[:-1] + b"?"), "deleted": store.delete}[change]()

    store.fault = swap
    with pytest.raises(StorageError, match=f"{URI}: .*(changed while it was read|deleted|reading was interrupted)"):
        list(decode(URI))


def test_broken_content_in_the_store_raises_an_item_error(clip, store):
    store.put(b"some text, this is no video" * 100)
    with pytest.raises(ItemError, match="not a video"):
        list(decode(URI))
    store.put(b"")
    with pytest.raises(ItemError, match="empty"):
        list(decode(URI))


@pytest.mark.parametrize(("name", "options"), [("v.mp4", {}), ("v.mp4", {"movflags": "faststart"}), ("v.mkv", {}), ("v.mov", {})])
def test_the_end_of_a_video_is_read_by_ranges(clip, store, name, options):
    path = clip(name, **options)
    size = Path(path).stat().st_size
    store.put(Path(path).read_bytes())
    found = contents(URI, start=3.7)
    assert store.served < 0.5 * size and size > 10 * 32768
    assert found == [(number - 90, time, image) for number, time, image in contents(path) if number > 90]
    store.served = 0
    assert contents(URI) == contents(path)
    assert store.served < 1.2 * size


def test_audio_and_frames_that_are_far_apart_in_the_file_are_not_read_many_times(clip, store, monkeypatch):
    monkeypatch.setattr(remote, "_BLOCK", 16384)
    path = Path(clip("v.mp4", group=50, movflags="frag_keyframe+empty_moov"))
    store.put(path.read_bytes())
    assert contents(URI) == contents(str(path))
    assert store.served < 1.5 * path.stat().st_size


class EarlyEnd(io.BytesIO):
    """A file that returns nothing before its end, at the next ``ends`` reads."""

    ends = 0

    def read(self, size=-1):
        if size > 0 and self.tell() > 40000 and EarlyEnd.ends:
            EarlyEnd.ends -= 1
            return b""
        return super().read(size)


class Store:
    """A file system of one object; fails the test if it is opened or read outside ``io_wait``."""

    def __init__(self, path):
        self.data, self.in_io_wait = Path(path).read_bytes(), 0

    def open_input_file(self, path):
        assert self.in_io_wait
        file = EarlyEnd(self.data)
        read = file.read
        file.read = lambda size=-1: (self.in_io_wait or pytest.fail("read outside of io_wait")) and read(size)
        return pa.PythonFile(file, mode="r")

    @contextmanager
    def wait(self):
        self.in_io_wait += 1
        yield
        self.in_io_wait -= 1


@pytest.mark.parametrize(("ends", "error"), [(4, None), (1000, StorageError)])
def test_a_response_that_ends_early_is_a_broken_connection_and_not_the_end_of_the_video(clip, monkeypatch, ends, error):
    path = clip()
    store = Store(path)
    monkeypatch.setattr(remote, "_PAUSE", 0.01)
    monkeypatch.setattr(remote, "_BLOCK", 16384)
    monkeypatch.setattr(remote, "resolve", lambda uri: (store, "clip"))
    monkeypatch.setattr(remote, "io_wait", store.wait)
    monkeypatch.setattr(EarlyEnd, "ends", ends)
    if error is None:
        assert contents(URI) == contents(path)
    else:
        with pytest.raises(StorageError, match="the response ended after [0-9]+ of [0-9]+ bytes; reading was interrupted"):
            list(decode(URI))
