"""Files that are written only if they have not changed, in every kind of store, and the lock with two writers at the same time."""

import json
import threading
import time

import pytest
from botocore.exceptions import ClientError
from two_writers import outcomes_of_two_writers

from abaw_ray.core.errors import StorageError
from abaw_ray.core.stage_store import lock_file as lock_files
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.lock_file import LocalLockFile, PlainLockFile, S3LockFile, has_conditional_put, lock_file
from abaw_ray.core.storage.filesystems import StorageConfig, _s3, _s3_client
from abaw_ray.core.storage.storage import Storage

A, B = {"owner": "a"}, {"owner": "b"}


@pytest.fixture
def s3(object_store, tmp_path):
    _s3.cache_clear()
    _s3_client.cache_clear()
    object_store.create_bucket(Bucket="abaw")
    yield Storage(StorageConfig(uri=f"s3://abaw/{tmp_path.name}", attempts=2))
    _s3.cache_clear()
    _s3_client.cache_clear()


@pytest.fixture(params=["local", "s3", "plain"])
def make(request, tmp_path):
    """Returns a function that opens the same file again."""
    storage = request.getfixturevalue("s3") if request.param == "s3" else Storage(StorageConfig(uri=str(tmp_path)))
    kind = {"local": LocalLockFile, "s3": S3LockFile, "plain": PlainLockFile}[request.param]
    return lambda: kind(storage, "stage/writer.json")


def test_a_file_is_created_once(make):
    first = make().write(A, None)
    assert first is not None
    assert make().write(B, None) is None
    assert make().read() == (A, first)


def test_a_file_is_replaced_if_it_has_not_changed(make):
    first = make().write(A, None)
    second = make().write(B, first)
    assert second is not None and make().read() == (B, second)
    assert make().write(A, first) is None
    assert make().read()[0] == B


def test_a_released_file_is_free_and_only_its_owner_releases_it(make):
    first = make().write(A, None)
    second = make().write(B, first)
    make().release(first)
    assert make().read() == (B, second)
    make().release(second)
    content, version = make().read()
    assert content is None
    assert make().write(A, version) is not None


def test_a_missing_file_has_no_version(make):
    assert make().read() == (None, None)


def test_the_kind_follows_from_the_store(s3, tmp_path):
    assert isinstance(lock_file(s3, "writer.json"), S3LockFile)
    assert isinstance(lock_file(Storage(StorageConfig(uri=str(tmp_path))), "writer.json"), LocalLockFile)
    assert s3.files("") == {}, "the probe was left behind"


def test_of_many_writers_on_a_disk_one_is_first(tmp_path):
    storage, start, admitted = Storage(StorageConfig(uri=str(tmp_path))), threading.Barrier(8), []

    def compete(number):
        file = LocalLockFile(storage, "stage/writer.json")
        start.wait()
        if file.write({"owner": number}, None):
            admitted.append(number)

    threads = [threading.Thread(target=compete, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 1
    assert json.loads(storage.read_bytes("stage/writer.json")) == {"owner": admitted[0]}


class Client:
    """A boto3 client whose puts are changed."""

    def __init__(self, client, put):
        self.client, self.put = client, put

    def __getattr__(self, name):
        return getattr(self.client, name)

    def put_object(self, **request):
        return self.put(self.client, request)


def use(monkeypatch, s3, put):
    client = Client(lock_files.s3_client(s3.config), put)
    monkeypatch.setattr(lock_files, "s3_client", lambda config: client)


def test_a_store_that_ignores_conditions_is_seen_as_one_without_them(s3, monkeypatch):
    use(monkeypatch, s3, lambda client, request: client.put_object(**{k: v for k, v in request.items() if not k.startswith("If")}))
    assert not has_conditional_put(s3.config)
    assert isinstance(lock_file(s3, "writer.json"), PlainLockFile)


@pytest.mark.parametrize("header", ["IfNoneMatch", "IfMatch"])
def test_a_store_that_states_that_it_has_no_conditional_put_is_one_without_them(s3, monkeypatch, header):
    def put(client, request):
        if header in request:
            raise ClientError({"Error": {"Code": "NotImplemented", "Message": "A header implies functionality that is not implemented"}}, "PutObject")
        return client.put_object(**request)

    use(monkeypatch, s3, put)
    assert not has_conditional_put(s3.config)
    assert isinstance(lock_file(s3, "writer.json"), PlainLockFile)


def test_a_store_without_any_put_is_an_error(s3, monkeypatch):
    def put(client, request):
        raise ClientError({"Error": {"Code": "NotImplemented", "Message": "no"}}, "PutObject")

    use(monkeypatch, s3, put)
    with pytest.raises(StorageError, match="NotImplemented"):
        has_conditional_put(s3.config)


def test_a_failed_probe_is_an_error_and_is_repeated(s3, monkeypatch):
    answers = [ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "PutObject")]

    def put(client, request):
        if answers:
            raise answers.pop()
        return client.put_object(**request)

    use(monkeypatch, s3, put)
    with pytest.raises(StorageError, match=r"s3://abaw/\S+: .*AccessDenied.*check the URI, the credentials"):
        has_conditional_put(s3.config)
    assert has_conditional_put(s3.config)


def test_a_put_that_is_repeated_because_its_response_was_lost_is_recognized(s3, monkeypatch):
    def put_twice(client, request):
        client.put_object(**request)
        return client.put_object(**request)  # refused, for the object of the first put is there

    file = S3LockFile(s3, "writer.json")
    use(monkeypatch, s3, put_twice)
    repeated = S3LockFile(s3, "writer.json")
    version = repeated.write(A, None)
    assert version is not None and file.read() == (A, version)
    assert repeated.write(B, version) is not None
    assert file.read()[0] == B


def test_of_two_writers_in_a_slow_store_one_is_admitted(s3, monkeypatch):
    """Each put takes longer than the wait by which two writers are found in a store without conditional puts."""

    def slow(client, request):
        time.sleep(0.5)
        return client.put_object(**request)

    use(monkeypatch, s3, slow)
    assert outcomes_of_two_writers(s3, timeout=20) == ["admitted", "refused"]
    with writer_lock(s3, "stage"):  # free again
        pass


def test_of_two_writers_in_a_store_without_conditions_the_last_is_admitted(tmp_path, monkeypatch):
    storage = Storage(StorageConfig(uri=str(tmp_path)))
    first = PlainLockFile(storage, "writer.json")
    monkeypatch.setattr(lock_files.time, "sleep", lambda seconds: storage.write_bytes("writer.json", json.dumps(B).encode()))
    assert first.write(A, None) is None


def test_a_lock_is_renewed_after_a_renewal_whose_error_was_reported_had_arrived(s3, monkeypatch):
    from abaw_ray.core.stage_store import lock

    monkeypatch.setattr(lock, "_HEARTBEAT_INTERVAL", 0.1)
    failing = [True]

    def put(client, request):
        done = client.put_object(**request)
        if "IfMatch" in request and failing and request["Key"].endswith("writer.json"):
            failing.clear()
            raise ClientError({"Error": {"Code": "InternalError", "Message": "arrived all the same"}}, "PutObject")
        return done

    assert has_conditional_put(s3.config)
    use(monkeypatch, s3, put)
    monkeypatch.setattr(lock_files, "has_conditional_put", lambda config: True)
    with writer_lock(s3, "stage"):
        file = S3LockFile(s3, "stage/writer.json")
        before = file.read()[0]
        deadline = time.monotonic() + 30
        while (after := file.read()[0]) is not None and after["heartbeat"] < before["heartbeat"] + 0.3 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not failing and after["owner"] == before["owner"] and after["heartbeat"] > before["heartbeat"] + 0.3
