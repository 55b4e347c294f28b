"""An object of a store -> a file that libav can read and seek in: by range, and again where the connection broke.

The bytes are those of one object or there are none: one that is replaced while it is read is noticed. What they mean, and whose fault a
video is that cannot be decoded, is ``source.py``'s.
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
"""How often one range is asked for; pyarrow itself asks up to three times for each of these."""
_BLOCK = 1 << 20
"""Bytes of one range."""
_KEPT = 8
"""Ranges kept: libav goes to and fro between a file's index, its pictures and its sound, which may lie apart."""
_PAUSE = 0.3
"""Seconds, as ``retrying`` has them."""


class RemoteFile:
    """A remote file as PyAV reads one; it remembers what went wrong for good."""

    def __init__(self, uri: str) -> None:
        """Open it.

        Raises:
            MissingError: there is no such object.
            StorageError: the store cannot be reached.
        """
        self.uri, self.position, self.broke = uri, 0, None
        self.filesystem, self.path = resolve(uri)
        self.blocks: OrderedDict[int, bytes] = OrderedDict()
        self.remote: pa.NativeFile | None = None
        try:
            self.remote, self.size, self.mark = _retrying()(self._open)
        except FileNotFoundError as error:
            raise MissingError(f"{uri}: there is no such object; check bucket and key") from error
        except OSError as error:
            raise self._lost(error) from error

    def tell(self) -> int:
        """Bytes from the beginning."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; nothing is read."""
        self.position = max({io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence] + offset, 0)
        return self.position

    def read(self, size: int) -> bytes:
        """As many bytes, or fewer up to the end of a range.

        Returns:
            No bytes at the end of the file, and from when they could not be had: then ``broke`` says why. libav would pass an error on to
            nobody, or ask again and again.
        """
        if self.position >= self.size or self.broke is not None:
            return b""
        begin = self.position % _BLOCK
        found = self._block(self.position // _BLOCK)[begin : begin + size]
        self.position += len(found)
        return found

    def check(self) -> None:
        """Ask once more whether the object is still the one that was opened; where it is not, ``broke`` says so."""
        if self.broke is None:
            self._tried(self._reopen)

    def close(self) -> None:
        """Give the connection back."""
        self._drop()

    def _open(self) -> tuple[pa.NativeFile, int, bytes]:
        """The file, its size, and what tells the object from another of that size, where the store says it."""
        with io_wait():
            file = self.filesystem.open_input_file(self.path)
            stated = file.metadata()
            return file, file.size(), stated.get("ETag") or stated.get("Last-Modified") or b""

    def _reopen(self) -> None:
        self._drop()
        try:
            self.remote, size, mark = self._open()
        except FileNotFoundError as error:
            raise StorageError(f"{self.uri}: it was deleted while it was read; put it back, then run it again") from error
        if (size, mark) != (self.size, self.mark):
            raise StorageError(f"{self.uri}: it changed while it was read; run it again when nobody writes it any more")

    def _block(self, number: int) -> bytes:
        if number not in self.blocks:
            block = self._tried(self._read, number)
            if block is None:
                return b""
            self.blocks[number] = block
            while len(self.blocks) > _KEPT:
                self.blocks.popitem(last=False)
        self.blocks.move_to_end(number)
        return self.blocks[number]

    def _tried(self, action: Callable[..., T], *args: object) -> T | None:
        try:
            return _retrying()(action, *args)
        except OSError as error:
            self.broke = self._lost(error)
        except StorageError as error:
            self.broke = error
        return None

    def _read(self, number: int) -> bytes:
        """One attempt at a range, from a file opened anew where the one before failed."""
        if self.remote is None:
            self._reopen()
        begin, end = number * _BLOCK, min((number + 1) * _BLOCK, self.size)
        try:
            with io_wait():
                found = self.remote.read_at(end - begin, begin)
            if len(found) < end - begin:
                raise OSError(f"the answer ended after {begin + len(found)} of {self.size} bytes")
            return found
        except OSError:
            self._drop()
            raise

    def _drop(self) -> None:
        remote, self.remote = self.remote, None
        if remote is not None:
            remote.close()

    def _lost(self, error: Exception) -> StorageError:
        reason = " ".join(str(error).split())
        return StorageError(f"{self.uri}: {reason}; reading broke off, run it again when the store can be reached")


def _retrying() -> Retrying:
    return retrying(_ATTEMPTS, pause=_PAUSE, sleep=_pause)


def _pause(seconds: float) -> None:
    with io_wait():
        time.sleep(seconds)
