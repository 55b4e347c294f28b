"""Files by URI, on a local disk or in an object store. Every write is atomic: the file appears complete or not at all.

Every read and write goes through ``Storage``. Credentials come from the store's default credential chain and are never stored or logged.
A local file is written under a temporary name and renamed; an object appears only when its upload is complete. Failed requests are retried
with exponential backoff; after the last attempt a ``StorageError`` names the URI.
"""

import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import FileStat, StorageConfig, is_remote, resolve
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.core.storage.retries import advice, retrying
from abaw_ray.core.storage.streams import sync_to_disk, write_stream

_T = TypeVar("_T")
_BLOCK = 8 << 20
"""Bytes that are copied at a time."""
_MAX_COPY = 5_000_000_000
"""Bytes of the largest object that S3 copies in one request."""
_ROW_GROUP = 4096
"""Rows of a Parquet row group: a few megabytes of face chips, so that a reader never holds a whole video."""


class Storage:
    """Files below a root URI. All paths passed to its methods are relative to the root, with forward slashes. Picklable."""

    def __init__(self, config: StorageConfig) -> None:
        self.config = config

    @cached_property
    def _root(self) -> tuple[pafs.FileSystem, str]:
        return resolve(self.config.uri, self.config)

    def __getstate__(self) -> dict:
        """Pickle no file system: the other process opens its own."""
        return {"config": self.config}

    def uri(self, path: str = "") -> str:
        """The full URI (or absolute local path) of a path, for messages and records."""
        base = self.config.uri if is_remote(self.config.uri) else str(Path(self.config.uri.removeprefix("file://")).absolute())
        return f"{base.rstrip('/')}/{path}".rstrip("/")

    def _try(self, path: str, action: Callable[[pafs.FileSystem, str], _T]) -> _T:
        filesystem, root = self._root
        try:
            return retrying(self.config.attempts)(action, filesystem, f"{root}/{path}".rstrip("/"))
        except FileNotFoundError:
            raise
        except OSError as error:
            reason = " ".join(str(error).split())
            raise StorageError(f"{self.uri(path)}: {reason}; {advice(reason)}") from error

    def exists(self, path: str) -> bool:
        """Whether a file or folder of that name exists."""
        return self._try(path, lambda fs, full: fs.get_file_info(full).type) != pafs.FileType.NotFound

    def is_file(self, path: str) -> bool:
        """Whether a file of that name exists."""
        return self._try(path, lambda fs, full: fs.get_file_info(full).type) == pafs.FileType.File

    def files(self, path: str, *, recursive: bool = False) -> dict[str, int]:
        """Names below a folder (relative to it) with their sizes in bytes, sorted; empty where there is no such folder."""
        return {name: stat.size for name, stat in self.stats(path, recursive=recursive).items()}

    def stats(self, path: str, *, recursive: bool = True) -> dict[str, FileStat]:
        """As ``files``, with sizes and modification times."""

        def read(fs: pafs.FileSystem, full: str) -> dict[str, FileStat]:
            files: dict[str, FileStat] = {}
            for info in fs.get_file_info(pafs.FileSelector(full, allow_not_found=True, recursive=recursive)):
                with suppress(UnicodeDecodeError):  # raised for a name that is not UTF-8, which nothing here writes
                    if info.type == pafs.FileType.File and ".tmp-" not in info.base_name:
                        files[info.path[len(full) + 1 :]] = FileStat(info.size, info.mtime_ns or 0)
            return dict(sorted(files.items()))

        return self._try(path, read)

    def read_bytes(self, path: str) -> bytes:
        """The whole content; ``FileNotFoundError`` where there is none."""

        def read(fs: pafs.FileSystem, full: str) -> bytes:
            with fs.open_input_file(full) as file:
                return file.read()

        return self._try(path, read)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file atomically, replacing an existing one."""

        def write(fs: pafs.FileSystem, target: str) -> None:
            write_stream(fs, target, [data])

        self._put(path, write, len(data))

    def put_file(self, local: Path, path: str) -> None:
        """Upload a local file atomically."""

        def write(fs: pafs.FileSystem, target: str) -> None:
            if isinstance(fs, pafs.LocalFileSystem):
                shutil.copyfile(local, target)  # copies in the kernel, in a fifth of the time
                return
            with local.open("rb") as source:
                write_stream(fs, target, iter(lambda: source.read(_BLOCK), b""))

        self._put(path, write, local.stat().st_size)

    def _put(self, path: str, fill: Callable[[pafs.FileSystem, str], None], size: int) -> None:
        """Write atomically and check the size: some uploads fail without an error."""

        def write(fs: pafs.FileSystem, full: str) -> None:
            local = isinstance(fs, pafs.LocalFileSystem)
            target = f"{full}.tmp-{uuid.uuid4().hex[:8]}" if local else full
            if local:
                fs.create_dir(os.path.dirname(full), recursive=True)
            try:
                fill(fs, target)
                written = fs.get_file_info(target).size
                if written != size:
                    raise OSError(f"{written} of {size} bytes arrived")
                if local:
                    sync_to_disk(target)
                    os.replace(target, full)
            except BaseException:
                if local:
                    Path(target).unlink(missing_ok=True)
                raise

        self._try(path, write)

    def get_file(self, path: str, local: Path) -> None:
        """Download a file atomically."""
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f"{local.name}.tmp-{uuid.uuid4().hex[:8]}")

        def read(fs: pafs.FileSystem, full: str) -> None:
            with disk_full_to_storage_error(), fs.open_input_file(full) as source, open(partial, "wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)

        try:
            self._try(path, read)
            os.replace(partial, local)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A local path with the content of a stored file: the file itself on a local disk, else a temporary copy. An open copy stays readable."""
        filesystem, root = self._root
        if isinstance(filesystem, pafs.LocalFileSystem):
            yield Path(root) / path
            return
        with tempfile.TemporaryDirectory(prefix="abaw-", ignore_cleanup_errors=True) as folder:  # a copy that is open keeps its folder on NFS
            local = Path(folder) / Path(path).name
            self.get_file(path, local)
            yield local

    def read_table(self, path: str, columns: list[str] | None = None, filters: list[tuple] | None = None) -> pa.Table:
        """A Parquet file as a table, with the given columns and the rows that pass pyarrow's ``filters``; all where None."""
        options = {"columns": columns, "filters": filters, "partitioning": None}  # no partitioning: folder names add no columns
        return self._try(path, lambda fs, full: pq.read_table(full, filesystem=fs, **options))

    def table_schema(self, path: str) -> pa.Schema:
        """Columns of a Parquet file; reads its metadata only."""
        return self._try(path, lambda fs, full: pq.read_schema(full, filesystem=fs))

    def table_rows(self, path: str) -> int:
        """Number of rows of a Parquet file; reads its metadata only."""
        return self._try(path, lambda fs, full: pq.read_metadata(full, filesystem=fs).num_rows)

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write one Parquet file atomically."""
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=_ROW_GROUP, compression="zstd")
        self.write_bytes(path, sink.getvalue())

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with its content; no error where there is none."""

        def remove(fs: pafs.FileSystem, full: str) -> None:
            kind = fs.get_file_info(full).type
            if kind == pafs.FileType.File:
                fs.delete_file(full)
            elif kind == pafs.FileType.Directory:
                with suppress(FileNotFoundError):  # Google's client deletes the content, then an object for the folder, which rarely exists
                    fs.delete_dir(full)

        self._try(path, remove)

    def move(self, path: str, target: str) -> None:
        """Move a file, replacing one at ``target``; an object store copies it without a download, up to the size that it allows."""

        def copy(fs: pafs.FileSystem, full: str) -> None:
            fs.copy_file(full, f"{full.removesuffix(path)}{target}")

        if isinstance(self._root[0], pafs.LocalFileSystem):
            self._try(path, lambda fs, full: os.replace(full, f"{full.removesuffix(path)}{target}"))
            return
        if self._try(path, lambda fs, full: fs.get_file_info(full).size) <= _MAX_COPY:
            self._try(path, copy)
        else:
            with self.local_copy(path) as local:
                self.put_file(local, target)
        self.delete(path)

    def check(self) -> None:
        """Write and delete a small object, so that a wrong bucket or key fails before any machine starts.

        Raises:
            StorageError: the root cannot be written.
        """
        probe = f".probe-{uuid.uuid4().hex}"
        self.write_bytes(probe, b"abaw_ray")
        self.delete(probe)
