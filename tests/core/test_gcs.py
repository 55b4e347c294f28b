"""``gs://`` against an emulator of Google Cloud Storage."""

import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def config(port: int) -> StorageConfig:
    return StorageConfig(uri=f"gs://anonymous@abaw/results?scheme=http&endpoint_override={quote(f'127.0.0.1:{port}')}", attempts=1)


@pytest.fixture(scope="module")
def store():
    port = free_port()
    # In its own process: pyarrow holds the GIL of this process during requests.
    command = [
        Path(sys.executable).with_name("gcp-storage-emulator"),
        "start",
        "--host=127.0.0.1",
        f"--port={port}",
        "--in-memory",
        "--default-bucket=abaw",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while not listens(port):
                assert server.poll() is None and time.monotonic() < deadline, "the emulator does not start"
                time.sleep(0.1)
            yield Storage(config(port))
        finally:
            server.kill()


def test_files_and_tables_are_read_back_as_written(store, tmp_path):
    table = pa.table({"row": pa.array(range(1000), pa.int64()), "text": ["x"] * 1000})
    (tmp_path / "some.bin").write_bytes(bytes(range(256)) * 400)
    store.check()
    store.write_bytes("a/b.json", b"{}")
    store.write_table("a/output.parquet", table)
    store.put_file(tmp_path / "some.bin", "a/some.bin")
    assert store.read_bytes("a/b.json") == b"{}"
    assert store.read_table("a/output.parquet").equals(table)
    store.get_file("a/some.bin", tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == (tmp_path / "some.bin").read_bytes()
    assert set(store.files("a")) == {"b.json", "output.parquet", "some.bin"}


def test_deleted_folders_are_gone(store):
    store.write_bytes("gone/x", b"x")
    assert store.exists("gone/x")
    store.delete("gone/x")
    assert not store.exists("gone/x") and store.files("gone") == {}
    store.write_bytes("folder/a/x", b"x")
    store.write_bytes("folder/y", b"y")
    store.delete("folder")
    assert store.files("folder", recursive=True) == {}


def test_an_unreachable_store_raises_in_bounded_time(monkeypatch):
    monkeypatch.setattr("abaw_ray.core.storage.filesystems._GCS_RETRY_LIMIT", 1)
    with pytest.raises(StorageError, match="gs://"):
        Storage(replace(config(free_port()), attempts=1)).check()
