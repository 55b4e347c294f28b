import threading

import pytest

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, _s3
from abaw_ray.core.storage.folders import download_folder, upload_folder
from abaw_ray.core.storage.storage import Storage

MARKER = "done.json"


@pytest.fixture
def folder(tmp_path):
    """A local folder with a marker and files in a subfolder."""
    here = tmp_path / "folder"
    for name in ("a.bin", MARKER, *(f"sub/{number}.bin" for number in range(20))):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(name.encode())
    return here


@pytest.fixture
def local(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "root")))


@pytest.fixture
def remote(object_store, tmp_path):
    object_store.create_bucket(Bucket="bucket")
    yield Storage(StorageConfig(uri=f"s3://bucket/{tmp_path.name}", attempts=1))
    _s3.cache_clear()


@pytest.fixture(params=["local", "remote"])
def storage(request):
    return request.getfixturevalue(request.param)


def content(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_is_uploaded_and_downloaded_with_its_subfolders(storage, folder, tmp_path):
    upload_folder(folder, storage, "x/y")
    assert storage.files("x/y", recursive=True) == {name: len(name) for name in sorted(content(folder))}
    download_folder(storage, "x/y", tmp_path / "back")
    assert content(tmp_path / "back") == content(folder)


def test_a_folder_can_be_the_root(storage, folder, tmp_path):
    upload_folder(folder, storage, "")
    download_folder(storage, "", tmp_path / "back")
    assert content(tmp_path / "back") == content(folder)


def test_only_the_named_files_are_downloaded(storage, folder, tmp_path):
    upload_folder(folder, storage, "x")
    download_folder(storage, "x", tmp_path / "back", names=["a.bin", "sub/3.bin"])
    assert set(content(tmp_path / "back")) == {"a.bin", "sub/3.bin"}


@pytest.fixture
def transfers(monkeypatch):
    """Names of the files in the order in which their transfers end, and the threads that ran them."""
    order, threads = [], set()

    def recorded(original):
        def transfer(self, *args):
            original(self, *args)
            order.append(next(str(arg).rpartition("/")[2] for arg in args))
            threads.add(threading.get_ident())

        return transfer

    for name in ("put_file", "get_file"):
        monkeypatch.setattr(Storage, name, recorded(getattr(Storage, name)))
    return order, threads


def test_the_last_file_is_uploaded_after_all_others(storage, folder, transfers):
    order, _ = transfers
    upload_folder(folder, storage, "x", last=MARKER)
    assert len(order) == 22 and order[21] == MARKER and order.count(MARKER) == 1


def test_an_object_store_gets_several_files_at_a_time_and_a_disk_one(local, remote, folder, transfers):
    upload_folder(folder, local, "x")
    assert len(transfers[1]) == 1
    transfers[1].clear()
    upload_folder(folder, remote, "x")
    assert len(transfers[1]) > 1


def test_a_failed_upload_raises_and_writes_no_marker(storage, folder, monkeypatch):
    put = Storage.put_file

    def fails(self, local, path):
        if path.endswith("/7.bin"):
            raise StorageError("7.bin: refused")
        put(self, local, path)

    monkeypatch.setattr(Storage, "put_file", fails)
    with pytest.raises(StorageError, match=r"7\.bin"):
        upload_folder(folder, storage, "x", last=MARKER)
    assert not storage.exists(f"x/{MARKER}")


def test_a_missing_last_file_raises(storage, folder):
    with pytest.raises(FileNotFoundError):
        upload_folder(folder, storage, "x", last="absent")
