import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, resolve
from abaw_ray.core.storage.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "root"), attempts=3))


def test_written_files_are_read_back_and_listed_with_their_sizes(storage):
    storage.write_bytes("a/b.txt", b"hello")
    assert storage.read_bytes("a/b.txt") == b"hello"
    assert storage.files("a") == {"b.txt": 5}
    assert storage.files("nowhere") == {}
    assert storage.files("", recursive=True) == {"a/b.txt": 5}


def test_a_table_comes_back_with_its_schema(storage):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float16)), 3)
    table = pa.table([vectors], schema=pa.schema([pa.field("v", pa.list_(pa.float16(), 3), nullable=False)]))
    storage.write_table("t.parquet", table)
    assert storage.read_table("t.parquet").schema.equals(table.schema)
    assert storage.read_table("t.parquet").equals(table)


@contextmanager
def full_disk():
    """Limit files of this process to 100 bytes, as on a full disk. The limit includes log files, so keep the block short."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_bytes_that_do_not_fit_on_the_disk_leave_the_old_file(storage):
    storage.write_bytes("output", b"old")
    with pytest.raises(StorageError, match="too large"), full_disk():
        storage.write_bytes("output", bytes(1000))
    assert storage.read_bytes("output") == b"old"
    assert list(storage.files("")) == ["output"]


def test_a_file_that_does_not_fit_on_the_disk_leaves_the_old_file(storage, tmp_path):
    storage.write_bytes("output", b"old")
    (tmp_path / "new").write_bytes(bytes(1000))
    with pytest.raises(StorageError, match="too large"), full_disk():
        storage.put_file(tmp_path / "new", "output")
    assert storage.read_bytes("output") == b"old"
    assert list(storage.files("")) == ["output"]


def test_a_file_that_arrives_short_without_an_error_is_an_error(storage, tmp_path, monkeypatch):
    (tmp_path / "new").write_bytes(b"hello")
    monkeypatch.setattr("shutil.copyfile", lambda source, target: Path(target).write_bytes(Path(source).read_bytes()[:3]))
    with pytest.raises(StorageError, match="3 of 5 bytes arrived"):
        storage.put_file(tmp_path / "new", "output")


def test_a_file_is_uploaded_to_a_file_system_that_is_not_local(storage, tmp_path, monkeypatch):
    (tmp_path / "new").write_bytes(b"hello")
    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "store"))
    (tmp_path / "store").mkdir()
    Storage(storage.config).put_file(tmp_path / "new", "output")
    assert (tmp_path / "store" / "output").read_bytes() == b"hello"


def test_a_file_gets_its_name_after_its_content_is_synced_to_disk(storage, tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append((os.fstat(file).st_size, "synced")), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda source, target: (events.append("renamed"), replace(source, target)))
    (tmp_path / "new").write_bytes(b"hello")
    storage.put_file(tmp_path / "new", "output")
    storage.write_bytes("other", b"bytes")
    assert events == [(5, "synced"), "renamed"] * 2


class InterruptedUpload:
    """A file system that is not local, on which every upload is interrupted."""

    def __init__(self, error):
        self.error, self.inner = error, pafs.LocalFileSystem()

    def open_output_stream(self, path):
        self.out = self.inner.open_output_stream(path)
        return self

    def write(self, data):
        self.out.write(data[:2])
        raise self.error

    def close(self):
        self.out.close()

    def delete_file(self, path):
        self.inner.delete_file(path)


@pytest.mark.parametrize("error", [OSError("Input/output error"), KeyboardInterrupt()])
def test_an_interrupted_upload_leaves_no_partial_object(storage, tmp_path, monkeypatch, error):
    (tmp_path / "new").write_bytes(b"hello")
    (tmp_path / "store").mkdir()
    monkeypatch.setattr("abaw_ray.core.storage.retries.wait_random_exponential", lambda **_: lambda state: 0)
    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (InterruptedUpload(error), str(tmp_path / "store")))
    for upload in (lambda there: there.put_file(tmp_path / "new", "output"), lambda there: there.write_bytes("output", b"hello")):
        with pytest.raises((StorageError, KeyboardInterrupt)):
            upload(Storage(storage.config))
        assert list((tmp_path / "store").iterdir()) == []


def test_a_broken_connection_is_retried(storage, monkeypatch):
    calls = []
    original = pafs.LocalFileSystem.open_input_file

    def flaky(self, path):
        calls.append(path)
        if len(calls) < 3:
            raise OSError("connection reset")
        return original(self, path)

    storage.write_bytes("a", b"1")
    monkeypatch.setattr("abaw_ray.core.storage.retries.wait_random_exponential", lambda **_: lambda state: 0)
    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (Flaky(flaky), resolve(storage.uri())[1]))
    assert Storage(storage.config).read_bytes("a") == b"1"
    assert len(calls) == 3


class Flaky:
    """A local file system whose reads call a function of the test."""

    def __init__(self, read):
        self.read, self.inner = read, pafs.LocalFileSystem()

    def open_input_file(self, path):
        return self.read(self.inner, path)


def test_a_missing_file_is_not_retried(storage, monkeypatch):
    calls = []

    def missing(self, path):
        calls.append(path)
        raise FileNotFoundError(path)

    monkeypatch.setattr("abaw_ray.core.storage.storage.resolve", lambda *_: (Flaky(missing), resolve(storage.uri())[1]))
    with pytest.raises(FileNotFoundError):
        Storage(storage.config).read_bytes("missing")
    assert len(calls) == 1


def test_invalid_settings_are_refused():
    with pytest.raises(ConfigError, match=r"storage\.uri"):
        StorageConfig(uri="")
    with pytest.raises(StorageError, match="has no bucket"):
        resolve("s3://")
    with pytest.raises(StorageError, match="use a local folder"):
        resolve("ftp7://somewhere/else")


def test_an_unwritable_folder_raises_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="check the URI") as caught:
        Storage(StorageConfig(uri=str(tmp_path / "file" / "below"), attempts=1)).check()
    assert "\n" not in str(caught.value)


def test_a_download_to_a_full_disk_raises_a_storage_error_and_leaves_nothing(storage, tmp_path, monkeypatch):
    storage.write_bytes("output", b"hello")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(StorageError, match="No space left on device; the disk is full"):
        storage.get_file("output", tmp_path / "here" / "output")
    assert list((tmp_path / "here").iterdir()) == []
