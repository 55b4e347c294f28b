"""A small JSON file that is written only if it has not changed since it was read: by a conditional request in S3 stores, under ``flock`` on a local
disk. Where neither is supported, it is written, and read again after a short wait.
"""

import fcntl
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeVar

import pyarrow.fs as pafs

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, resolve, s3_client
from abaw_ray.core.storage.retries import advice, retrying
from abaw_ray.core.storage.storage import Storage

_T = TypeVar("_T")
_CONFIRM_DELAY = 0.2
"""Seconds until a file in a store without conditional writes is read again: of two writers at the same time, only the last one reads its own."""
_RELEASED = b"{}"
"""Content of a released file in an S3 store. It is not deleted: few stores have a conditional delete."""
_MISMATCH = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}
"""Error codes of a conditional put that was refused: the object is another one, or another put of it is under way."""
_ABSENT = {"NoSuchKey", "404"}
_NOT_IMPLEMENTED = {"NotImplemented", "501"}
"""Error codes with which a store states that it has no conditional put."""
Version = str | bytes
"""Identifies the content of a file: an entity tag, or the content itself."""


class LockFile(ABC):
    """A file that several writers compete for."""

    def __init__(self, storage: Storage, path: str) -> None:
        """Store the path of the file below the storage root."""
        self.storage, self.path = storage, path

    @abstractmethod
    def read(self) -> tuple[dict | None, Version | None]:
        """Content and version; no content if there is no such file or it was released, no version if there is no such file."""

    @abstractmethod
    def write(self, claim: dict, expected: Version | None) -> Version | None:
        """Write if the file has the expected version (None: if there is none); returns the new version, or None where it has another one."""

    @abstractmethod
    def release(self, expected: Version) -> None:
        """Remove the content if the file has this version."""


def lock_file(storage: Storage, path: str) -> LockFile:
    """The file, with the safest kind of write that its store supports."""
    filesystem, _ = resolve(storage.config.uri, storage.config)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return LocalLockFile(storage, path)
    if isinstance(filesystem, pafs.S3FileSystem) and has_conditional_put(storage.config):
        return S3LockFile(storage, path)
    return PlainLockFile(storage, path)


class PlainLockFile(LockFile):
    """In a store without conditional writes. Two writers are both admitted where a write takes longer than the wait."""

    def read(self) -> tuple[dict | None, Version | None]:
        """As documented in ``LockFile``."""
        try:
            content = self.storage.read_bytes(self.path)
        except FileNotFoundError:
            return None, None
        return json.loads(content), content

    def write(self, claim: dict, expected: Version | None) -> Version | None:
        """As documented in ``LockFile``."""
        if self.read()[1] != expected:
            return None
        content = json.dumps(claim).encode()
        self.storage.write_bytes(self.path, content)
        time.sleep(_CONFIRM_DELAY)
        return content if self.read()[1] == content else None

    def release(self, expected: Version) -> None:
        """As documented in ``LockFile``."""
        if self.read()[1] == expected:
            self.storage.delete(self.path)


class LocalLockFile(PlainLockFile):
    """On a local disk: the folder is locked with ``flock`` while the file is compared and written."""

    def write(self, claim: dict, expected: Version | None) -> Version | None:
        """As documented in ``LockFile``."""
        content = json.dumps(claim).encode()
        with self._folder_locked() as locked:
            if not locked:  # as on some network file systems
                return super().write(claim, expected)
            if self.read()[1] != expected:
                return None
            self.storage.write_bytes(self.path, content)
        return content

    def release(self, expected: Version) -> None:
        """As documented in ``LockFile``."""
        with self._folder_locked():
            super().release(expected)

    @contextmanager
    def _folder_locked(self) -> Iterator[bool]:
        folder = os.path.dirname(self.storage.uri(self.path))
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            locked = False
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                locked = True
            yield locked
        finally:
            os.close(descriptor)  # unlocks it


class S3LockFile(LockFile):
    """In an S3 store with conditional puts (``If-None-Match``, ``If-Match``)."""

    def __init__(self, storage: Storage, path: str) -> None:
        """Find bucket and key of the file."""
        super().__init__(storage, path)
        root = resolve(storage.config.uri, storage.config)[1]
        bucket, _, prefix = root.partition("/")
        self._client = s3_client(storage.config)
        self._form = _form_of_tags(self._client, root)
        self._name = {"Bucket": bucket, "Key": f"{prefix}/{path}".lstrip("/")}

    def read(self) -> tuple[dict | None, Version | None]:
        """As documented in ``LockFile``."""
        found = self._try(lambda: retrying(self.storage.config.attempts)(self._get), _ABSENT)
        return (json.loads(found[0]) or None, found[1]) if found else (None, None)

    def _get(self) -> tuple[bytes, str]:
        from botocore.exceptions import BotoCoreError

        found = self._client.get_object(**self._name)
        try:
            return found["Body"].read(), found["ETag"]
        except BotoCoreError as error:  # the response broke off; the client repeats only requests without one
            raise OSError(str(error)) from error

    def write(self, claim: dict, expected: Version | None) -> Version | None:
        """As documented in ``LockFile``. After a refusal the file is read: it may be this very write, repeated because its response was lost."""
        content = json.dumps(claim).encode()
        if (version := self._put(content, expected)) is not None:
            return version
        found, version = self.read()
        return version if found == claim else None

    def release(self, expected: Version) -> None:
        """As documented in ``LockFile``; the file remains, without content."""
        self._put(_RELEASED, expected)

    def _put(self, content: bytes, expected: Version | None) -> str | None:
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": _in_form(str(expected), self._form)}
        done = self._try(lambda: self._client.put_object(**self._name, **condition, Body=content), _MISMATCH | _ABSENT)
        return done and done["ETag"]

    def _try(self, request: Callable[[], _T], refusals: set[str]) -> _T | None:
        """The response, None for an error with one of these codes."""
        return _request(request, refusals, self.storage.uri(self.path))


def _request(request: Callable[[], _T], refusals: set[str], uri: str) -> _T | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return request()
    except ClientError as error:
        if error.response["Error"]["Code"] in refusals:
            return None
        reason = " ".join(str(error).split())
    except (BotoCoreError, OSError) as error:
        reason = " ".join(str(error).split())
    raise StorageError(f"{uri}: {reason}; {advice(reason)}")


def has_conditional_put(config: StorageConfig) -> bool:
    """Whether a store honors the conditions of a put (``_form_of_tags``)."""
    return bool(_form_of_tags(s3_client(config), resolve(config.uri, config)[1]))


@cache
def _form_of_tags(client: Any, root: str) -> str:
    """How a store takes an entity tag in ``If-Match``: ``quoted``, as it gave it, or ``unquoted`` (Ceph 16 takes no other); empty where
    it does not honor the conditions of a put.

    Seen by puts of one small object: the store must refuse those whose condition is false and accept one whose condition is true. A store may also
    state that it has no such puts. It is never inferred from another failed request, which says nothing about the conditions.

    Raises:
        StorageError: a request failed.
    """
    bucket, _, prefix = root.partition("/")
    name = {"Bucket": bucket, "Key": f"{prefix}/.probe-{os.urandom(8).hex()}".lstrip("/")}

    def put(**condition: str) -> dict | None:
        return _request(lambda: _put_where_implemented(client, {**name, **condition, "Body": b"abaw_ray"}), _MISMATCH, f"s3://{root}")

    try:
        tag = (put() or {})["ETag"]
        if put(IfNoneMatch="*") or put(IfMatch='"00000000000000000000000000000000"'):
            return ""
        return next((form for form in ("quoted", "unquoted") if put(IfMatch=_in_form(tag, form))), "")
    except _NotImplementedByStoreError:
        return ""
    finally:
        _request(lambda: client.delete_object(**name), _ABSENT, f"s3://{root}")


class _NotImplementedByStoreError(Exception):
    """The store states that it has no conditional put."""


def _put_where_implemented(client: Any, arguments: dict) -> dict:
    from botocore.exceptions import ClientError

    try:
        return client.put_object(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in _NOT_IMPLEMENTED and {"IfNoneMatch", "IfMatch"} & arguments.keys():
            raise _NotImplementedByStoreError from error
        raise


def _in_form(tag: str, form: str) -> str:
    return tag.strip('"') if form == "unquoted" else tag
