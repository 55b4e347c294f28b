"""A URI -> an open libav container, with the ways in which reading fails told apart; which streams are decoded is for the neighbours.

A missing file is the user's mistake (``DataError``), a broken connection may be whole next time (``StorageError``), content that is no
video stays broken (``ItemError``). libav itself reports a connection lost in mid-file as invalid data, so the file is watched here.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pyarrow as pa

from abaw_ray.core.errors import AbawError, DataError, ItemError, StorageError
from abaw_ray.core.storage import is_remote, resolve

_READ = 1 << 20
"""Bytes of one range read from an object store."""


class Source:
    """An open container and, for a remote one, the file behind it."""

    def __init__(self, uri: str, container: av.container.InputContainer, file: "_Watched | None") -> None:
        self.uri, self.container, self.file = uri, container, file

    def error(self, cause: Exception, reason: str, last_frame: int | None = None) -> AbawError:
        """The error to raise for what libav reported: the connection's where that broke, else the item's with this reason."""
        return _blame(self.uri, self.file, cause, reason, last_frame)

    @property
    def lost(self) -> bool:
        """Whether the connection broke."""
        return self.file is not None and self.file.broke is not None


@contextmanager
def opened(uri: str) -> Iterator[Source]:
    """Open a video or sound file for one pass; remote files are read by range.

    Args:
        uri: A local path, ``file://``, ``s3://`` or whatever else pyarrow reads.

    Raises:
        DataError: there is no such file.
        StorageError: the store cannot be reached.
        ItemError: libav finds no container that it knows in it.
    """
    file = _remote(uri) if is_remote(uri) else None
    target = file.buffered if file is not None else _local(uri)
    try:
        container = av.open(target, metadata_errors="replace", buffer_size=32768 if file is None else _READ)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise _blame(uri, file, error, "not a video or sound file that libav can read", None) from error
    try:
        yield Source(uri, container, file)
    finally:
        container.close()
        if file is not None:
            file.close()


def _local(uri: str) -> str:
    path = Path(uri.removeprefix("file://"))
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; check the path, relative ones begin at the working folder")
    if path.stat().st_size == 0:
        raise ItemError("the file is empty")
    return str(path.absolute())


def _remote(uri: str) -> "_Watched":
    try:
        filesystem, path = resolve(uri)
        return _Watched(filesystem.open_input_file(path))
    except FileNotFoundError as error:
        raise DataError(f"{uri}: there is no such object; check bucket and key") from error
    except OSError as error:
        raise _lost(uri, error) from error


def _lost(uri: str, error: Exception) -> StorageError:
    return StorageError(f"{uri}: {_line(error)}; reading broke off, run it again when the store can be reached")


def _blame(uri: str, file: "_Watched | None", cause: Exception, reason: str, last_frame: int | None) -> AbawError:
    """Whose fault it was: the connection's, or the item's."""
    if file is not None and file.broke is not None:
        return _lost(uri, file.broke)
    words = getattr(cause, "strerror", None) or _line(cause)
    return ItemError(f"{reason} ({words})", last_frame)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Watched(io.RawIOBase):
    """A remote file that remembers the error which interrupted it."""

    def __init__(self, file: pa.NativeFile) -> None:
        super().__init__()
        self.remote, self.broke = file, None
        self.buffered = io.BufferedReader(self, _READ)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        try:
            return self.remote.readinto(buffer)
        except OSError as error:
            self.broke = error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.remote.seek(offset, whence)

    def tell(self) -> int:
        return self.remote.tell()

    def close(self) -> None:
        self.remote.close()
        super().close()
