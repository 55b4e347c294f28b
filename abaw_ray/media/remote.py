"""An object in a store -> a seekable file for libav: reads ranges, caches some, and retries after a broken connection.

All bytes come from one version of the object: a replacement during reading is detected. ``source.py`` assigns error classes to files that
cannot be decoded.
"""

import io
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

import pyarrow as pa
from tenacity import Retrying

from abaw_ray.core.errors import MissingError, StorageError
from abaw_ray.core.process.child import io_wait
from abaw_ray.core.storage.filesystems import StorageConfig, resolve
from abaw_ray.core.storage.retries import retrying

T = TypeVar("T")

_ATTEMPTS = StorageConfig().attempts
"""Attempts to read one range; pyarrow itself makes up to three requests for each."""
_BLOCK = 1 << 20
"""Bytes of one range."""
_CACHED_BLOCKS = 8
"""Ranges in the cache: libav alternates between a file's index, its video and its audio, which may lie far apart."""
_PAUSE = 0.3
"""``pause`` of ``retrying``, in seconds."""


class RemoteFile:
    """A remote file for PyAV. ``failure`` holds the error after which nothing more can be read."""

    def __init__(self, uri: str) -> None:
        """Open the object.

        Raises:
            MissingError: there is no such object.
            StorageError: the store cannot be reached.
        """
        self.uri, self.position = uri, 0
        self.failure: StorageError | None = None
        self.filesystem, self.path = resolve(uri)
        self.blocks: OrderedDict[int, bytes] = OrderedDict()
        self.remote: pa.NativeFile | None = None
        try:
            self.remote, self.size, self.version = _retrying()(self._open)
        except FileNotFoundError as error:
            raise MissingError(f"{uri}: there is no such object; check bucket and key") from error
        except OSError as error:
            raise self._lost(error) from error

    def tell(self) -> int:
        """Position in bytes from the start."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position; reads nothing."""
        self.position = max({io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence] + offset, 0)
        return self.position

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; fewer at the end of a range.

        Returns:
            No bytes at the end of the file and after a failed read; then ``failure`` is set. No exception is raised here, because libav would
            ignore it or read again indefinitely.
        """
        if self.position >= self.size or self.failure is not None:
            return b""
        begin = self.position % _BLOCK
        data = self._block(self.position // _BLOCK)[begin : begin + size]
        self.position += len(data)
        return data

    def check(self) -> None:
        """Check whether the object is still the version that was opened; sets ``failure`` where it is not."""
        if self.failure is None:
            self._try(self._reopen)

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _open(self) -> tuple[pa.NativeFile, int, bytes]:
        """The file, its size, and its ETag or modification time where the store states one."""
        with io_wait():
            file = self.filesystem.open_input_file(self.path)
            metadata = file.metadata()
            return file, file.size(), metadata.get("ETag") or metadata.get("Last-Modified") or b""

    def _reopen(self) -> pa.NativeFile:
        self._drop()
        try:
            remote, size, version = self._open()
            self.remote = remote
        except FileNotFoundError as error:
            raise StorageError(f"{self.uri}: it was deleted while it was read; restore it, then run the command again") from error
        if (size, version) != (self.size, self.version):
            raise StorageError(f"{self.uri}: it changed while it was read; run the command again when it is no longer being written")
        return remote

    def _block(self, number: int) -> bytes:
        if number not in self.blocks:
            block = self._try(self._read, number)
            if block is None:
                return b""
            self.blocks[number] = block
            while len(self.blocks) > _CACHED_BLOCKS:
                self.blocks.popitem(last=False)
        self.blocks.move_to_end(number)
        return self.blocks[number]

    def _try(self, action: Callable[..., T], *args: object) -> T | None:
        try:
            return _retrying()(action, *args)
        except OSError as error:
            self.failure = self._lost(error)
        except StorageError as error:
            self.failure = error
        return None

    def _read(self, number: int) -> bytes:
        """One attempt to read a range; reopens the file after a failed one."""
        remote = self._reopen() if self.remote is None else self.remote
        begin, end = number * _BLOCK, min((number + 1) * _BLOCK, self.size)
        try:
            with io_wait():
                data = remote.read_at(end - begin, begin)
            if len(data) < end - begin:
                raise OSError(f"the response ended after {begin + len(data)} of {self.size} bytes")
            return data
        except OSError:
            self._drop()
            raise

    def _drop(self) -> None:
        remote, self.remote = self.remote, None
        if remote is not None:
            remote.close()

    def _lost(self, error: Exception) -> StorageError:
        reason = " ".join(str(error).split())
        return StorageError(f"{self.uri}: {reason}; reading was interrupted, run the command again when the store can be reached")


def _retrying() -> Retrying:
    return retrying(_ATTEMPTS, pause=_PAUSE, sleep=_pause)


def _pause(seconds: float) -> None:
    with io_wait():
        time.sleep(seconds)
