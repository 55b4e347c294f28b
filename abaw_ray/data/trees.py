"""Read access to the user's folders on a local disk or in an object store: listings, sizes, modification times and content.

A missing path raises ``DataError``; an unreachable store raises ``StorageError`` and is never reported as an empty folder.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from abaw_ray.core.errors import DataError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote, resolve
from abaw_ray.core.storage.retries import retrying
from abaw_ray.core.storage.storage import Storage

_T = TypeVar("_T")
_STAT_THREADS = 16
"""Concurrent requests to an object store; default ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file or folder of a tree."""

    path: str
    """Relative to the tree's root, with forward slashes."""
    is_folder: bool
    size: int
    """Bytes; 0 for a folder."""
    modified_ns: int
    """Modification time in nanoseconds since 1970; 0 where the store has none."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The path of its folder; empty for the root."""
        return self.path.rpartition("/")[0]


class Tree:
    """Files below a root folder or URI; every listing is sorted by path, whatever the order of the file system."""

    def __init__(self, root: str | Path, storage: StorageConfig | None = None) -> None:
        text = str(root)
        self.root = text.rstrip("/") if is_remote(text) else str(Path(text.removeprefix("file://")).absolute())
        self.config = replace(storage or StorageConfig(), uri=self.root)
        self._files, self._base = resolve(self.root, self.config)

    def uri(self, path: str = "") -> str:
        """The full location of a path below the root: an absolute local path, or a URI such as ``s3://...``."""
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def _full(self, path: str) -> str:
        return f"{self._base.rstrip('/')}/{path}" if path else self._base

    def _request(self, path: str, operation: Callable[[], _T]) -> _T:
        try:
            return retrying(self.config.attempts)(operation)
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{self.uri(path)}: no such folder; check the path") from None
        except OSError as error:
            reason = " ".join(str(error).split())
            raise StorageError(f"{self.uri(path)}: {reason}; check the URI, the credentials and storage.endpoint") from error

    def entries(self, path: str = "", *, recursive: bool = False) -> list[Entry]:
        """Entries of a folder, sorted by path; names that begin with a dot are left out.

        Raises:
            DataError: the folder does not exist, or holds a name that is not UTF-8.
            StorageError: the store cannot be reached.
        """
        selector = pafs.FileSelector(self._full(path), recursive=recursive)
        infos = self._request(path, lambda: self._files.get_file_info(selector))
        try:
            entries = [self._entry(info, info.path[len(self._base.rstrip("/")) + 1 :]) for info in infos]
        except UnicodeDecodeError as error:
            raise DataError(f"{self.uri(path)}: holds a file whose name is not UTF-8, {error.object!r}; rename it") from None
        visible = [entry for entry in entries if not any(part.startswith(".") for part in entry.path[len(path) :].split("/"))]
        return sorted(visible, key=lambda entry: entry.path)

    def stat(self, paths: Iterable[str]) -> list[Entry | None]:
        """Entry of each path; ``None`` where it does not exist. An object store receives one request per path, concurrently."""
        paths = list(paths)
        full = [self._full(path) for path in paths]
        if is_remote(self.root) and len(full) > 1:
            with ThreadPoolExecutor(_STAT_THREADS) as pool:
                infos = list(pool.map(lambda one: self._request("", lambda: self._files.get_file_info(one)), full))
        else:
            infos = self._request("", lambda: self._files.get_file_info(full))
        return [None if info.type == pafs.FileType.NotFound else self._entry(info, path) for info, path in zip(infos, paths, strict=True)]

    def exists(self, path: str) -> bool:
        """Whether a file or folder exists at the path."""
        return self.stat([path])[0] is not None

    def read(self, path: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: the file does not exist.
        """
        try:
            return Storage(self.config).read_bytes(path)
        except FileNotFoundError:
            raise DataError(f"{self.uri(path)}: no such file; check the path") from None

    def read_columns(self, path: str, names: Iterable[str]) -> pa.Table:
        """The named columns that exist in a Parquet file; no other column is read.

        Raises:
            DataError: the file does not exist, or is not a Parquet file.
        """

        def read() -> pa.Table:
            with self._files.open_input_file(self._full(path)) as file:
                parquet = pq.ParquetFile(file)
                return parquet.read(columns=[name for name in names if name in parquet.schema_arrow.names])

        try:
            return self._request(path, read)
        except pa.ArrowInvalid as error:
            raise DataError(f"{self.uri(path)}: not a Parquet file ({' '.join(str(error).split())[:120]}); is this the right file?") from error

    def read_text(self, path: str) -> str:
        """The content of a UTF-8 text file, without a byte order mark.

        Raises:
            DataError: the file does not exist, or is not text.
        """
        try:
            return self.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.uri(path)}: not a text file ({error.reason} at byte {error.start}); is this the right file?") from error

    @staticmethod
    def _entry(info: pafs.FileInfo, path: str) -> Entry:
        folder = info.type == pafs.FileType.Directory
        return Entry(path=path, is_folder=folder, size=0 if folder else info.size, modified_ns=info.mtime_ns or 0)


def open_file(location: str | Path, storage: StorageConfig | None = None) -> tuple[Tree, str]:
    """Tree and relative path of one file, from a URI or a local path; the path of a bucket is empty."""
    text = str(location)
    if is_remote(text) and "/" not in text.partition("://")[2]:
        return Tree(text, storage), ""
    if not is_remote(text):
        text = str(Path(text.removeprefix("file://")).absolute())
    folder, _, name = text.rpartition("/")
    return Tree(folder or "/", storage), name
