import errno
import io
import os
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from abaw_ray.core.errors import DataError, ItemError, StorageError
from abaw_ray.media import remote
from abaw_ray.media.audio import decode_audio
from abaw_ray.media.source import open_media
from abaw_ray.media.video import decode


class Breaking(io.BytesIO):
    """A stored object whose connection breaks after a number of bytes."""

    def __init__(self, data, good):
        super().__init__(data)
        self.good = good

    def read(self, size=-1):
        if self.tell() + (size if size >= 0 else 0) > self.good:
            raise OSError("curlCode: 56, Failure when receiving data from the peer")
        return super().read(size)


class Store:
    """A file system of one object."""

    def __init__(self, data, good):
        self.data, self.good = data, good

    def open_input_file(self, path):
        return pa.PythonFile(Breaking(self.data, self.good), mode="r")


@pytest.fixture
def long_video(video):
    """Path of a video of a few megabytes, so that more than one range is read."""
    return video(np.arange(40) / 25, np.random.default_rng(0).uniform(-1, 1, 25600).astype(np.float32), name="v.mkv", crf=0)


def test_a_remote_video_gives_the_same_frames_and_audio_as_a_local_one(long_video, monkeypatch):
    monkeypatch.setattr(remote, "resolve", lambda uri: (pafs.LocalFileSystem(), long_video))
    here, there = list(decode(long_video)), list(decode("s3://bucket/v.mkv"))
    assert [frame.time for frame in here] == [frame.time for frame in there]
    assert all((a.rgb() == b.rgb()).all() for a, b in zip(here, there, strict=True))
    np.testing.assert_array_equal(decode_audio(long_video).samples, decode_audio("s3://bucket/v.mkv").samples)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_broken_connection_raises_a_storage_error_not_an_item_error(long_video, monkeypatch, share):
    data = Path(long_video).read_bytes()
    monkeypatch.setattr(remote, "_BLOCK", 4096)
    monkeypatch.setattr(remote, "_PAUSE", 0.001)
    monkeypatch.setattr(remote, "resolve", lambda uri: (Store(data, len(data) * share), "v.mkv"))
    with pytest.raises(StorageError, match="s3://bucket/v.mkv: .*peer; reading was interrupted"):
        list(decode("s3://bucket/v.mkv"))
    with pytest.raises(StorageError, match="reading was interrupted"):
        decode_audio("s3://bucket/v.mkv")


def test_a_missing_object_raises_a_data_error(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "resolve", lambda uri: (pafs.LocalFileSystem(), str(tmp_path / "nowhere")))
    with pytest.raises(DataError, match="s3://bucket/nowhere: there is no such object"):
        next(decode("s3://bucket/nowhere"))


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENOTCONN])
def test_errors_of_a_disk_or_a_mounted_share_raise_a_storage_error(long_video, monkeypatch, number):
    def broken(*_, **__):
        raise av.error.OSError(number, os.strerror(number), str(long_video))

    monkeypatch.setattr(av, "open", broken)
    with pytest.raises(StorageError, match="check its disk or network share"):
        list(decode(long_video))


def test_a_file_without_read_permission_raises_an_item_error(long_video, monkeypatch):
    def locked(*_, **__):
        raise av.error.PermissionError(errno.EACCES, "Permission denied", str(long_video))

    monkeypatch.setattr(av, "open", locked)
    with pytest.raises(ItemError, match=r"^no permission to read the file \(Permission denied\)$"):
        list(decode(long_video))


def test_a_lack_of_memory_raises_a_memory_error_whatever_libav_reports(long_video, monkeypatch):
    with open_media(long_video) as source:
        invalid = av.error.InvalidDataError(1094995529, "Invalid data found when processing input")
        too_much = av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")  # memory is free: the file requests an impossible amount
        for error in (invalid, too_much):
            assert isinstance(source.error(error, "decoding stopped", 7), ItemError)
        monkeypatch.setattr("abaw_ray.media.source.memory_is_short", lambda: True)
        for error in (invalid, too_much):
            assert isinstance(source.error(error, "decoding stopped", 7), MemoryError)
