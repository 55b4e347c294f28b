"""Files by URI, on a local disk or in an object store, written whole or not at all.

Everything that is read or written goes through ``Storage``; credentials come from the usual chain of the store and appear nowhere.
A local file is written beside its name and renamed; an object appears only when its upload is completed. Broken connections are tried
again with growing pauses; what still fails is a ``StorageError`` that names the address, never a silent absence.
"""

import errno
import io
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote, resolve
from abaw_ray.core.storage.local_disk import own_disk
from abaw_ray.core.storage.retries import retrying

_T = TypeVar("_T")
_BLOCK = 8 << 20
"""Bytes that are copied at a time."""
_ROW_GROUP = 4096
"""Rows of a Parquet row group: a few megabytes of chips, so that a reader never holds a whole video."""


def _fill(fs: pafs.FileSystem, target: str, blocks: Iterable[bytes]) -> None:
    """Write a file or object; what is broken off (Ctrl-C, a source that cannot be read) leaves none, though pyarrow completes what it closes."""
    out = fs.open_output_stream(target)
    try:
        for block in blocks:
            out.write(block)
    except BaseException:
        with suppress(OSError):  # where it was the store that failed, this says so again, and there is nothing to delete
            out.close()
            fs.delete_file(target)
        raise
    out.close()


def _settle(path: str) -> None:
    """Wait until the disk has what was written: a machine that loses its power may otherwise come back with the name and without the content."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _todo(reason: str) -> str:
    """What to do about a refusal."""
    if "MissingContentLength" in reason:  # HTTP 411
        return "this store does not know today's checksums: give --storage.checksums when_required"
    if os.strerror(errno.ENOSPC) in reason:
        return "the disk is full: make room there, or name another folder"
    return "check the address, the credentials and storage.endpoint"


class Storage:
    """A root address; all paths given to its methods are relative to it, with forward slashes. Picklable."""

    def __init__(self, config: StorageConfig) -> None:
        self.config = config

    @cached_property
    def _root(self) -> tuple[pafs.FileSystem, str]:
        return resolve(self.config.uri, self.config)

    def __getstate__(self) -> dict:
        """Leave the file system behind: the other process opens its own."""
        return {"config": self.config}

    def uri(self, path: str = "") -> str:
        """The full address of a path, for people and records."""
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
            raise StorageError(f"{self.uri(path)}: {reason}; {_todo(reason)}") from error

    def exists(self, path: str) -> bool:
        """Whether a file or folder of that name is there."""
        return self._try(path, lambda fs, full: fs.get_file_info(full).type) != pafs.FileType.NotFound

    def files(self, path: str, *, recursive: bool = False) -> dict[str, int]:
        """Names below a folder (relative to it) with their sizes in bytes, sorted; empty where the folder is not there."""

        def read(fs: pafs.FileSystem, full: str) -> dict[str, int]:
            found = fs.get_file_info(pafs.FileSelector(full, allow_not_found=True, recursive=recursive))
            files = [info for info in found if info.type == pafs.FileType.File and ".tmp-" not in info.base_name]
            return {info.path[len(full) + 1 :]: info.size for info in sorted(files, key=lambda info: info.path)}

        return self._try(path, read)

    def read_bytes(self, path: str) -> bytes:
        """The whole content; ``FileNotFoundError`` where there is none."""

        def read(fs: pafs.FileSystem, full: str) -> bytes:
            with fs.open_input_file(full) as file:
                return file.read()

        return self._try(path, read)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Put the content there, replacing what was there, all at once."""

        def write(fs: pafs.FileSystem, target: str) -> None:
            _fill(fs, target, [data])

        self._put(path, write, len(data))

    def put_file(self, local: Path, path: str) -> None:
        """Copy a local file there, all at once."""

        def write(fs: pafs.FileSystem, target: str) -> None:
            if isinstance(fs, pafs.LocalFileSystem):
                shutil.copyfile(local, target)  # in the kernel, at a fifth of the cost
                return
            with local.open("rb") as source:
                _fill(fs, target, iter(lambda: source.read(_BLOCK), b""))

        self._put(path, write, local.stat().st_size)

    def _put(self, path: str, fill: Callable[[pafs.FileSystem, str], None], size: int) -> None:
        """Write and check the size: some uploads fail without an error."""

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
                    _settle(target)
                    os.replace(target, full)
            except BaseException:
                if local:
                    Path(target).unlink(missing_ok=True)
                raise

        self._try(path, write)

    def get_file(self, path: str, local: Path) -> None:
        """Copy a stored file to a local one, all at once."""
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f"{local.name}.tmp-{uuid.uuid4().hex[:8]}")

        def read(fs: pafs.FileSystem, full: str) -> None:
            with own_disk(), fs.open_input_file(full) as source, open(partial, "wb") as out:
                shutil.copyfileobj(source, out, _BLOCK)

        try:
            self._try(path, read)
            os.replace(partial, local)
        finally:
            partial.unlink(missing_ok=True)

    @contextmanager
    def local_copy(self, path: str) -> Iterator[Path]:
        """A local path with the content of a stored file: itself on a local disk, else a temporary copy."""
        filesystem, root = self._root
        if isinstance(filesystem, pafs.LocalFileSystem):
            yield Path(root) / path
            return
        with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
            local = Path(folder) / Path(path).name
            self.get_file(path, local)
            yield local

    def read_table(self, path: str, columns: list[str] | None = None, filters: list[tuple] | None = None) -> pa.Table:
        """A Parquet file as a table; only the given columns are read, and of the rows those that pass pyarrow's ``filters``."""
        return self._try(path, lambda fs, full: pq.read_table(full, columns=columns, filesystem=fs, partitioning=None, filters=filters))

    def table_columns(self, path: str) -> list[str]:
        """Names of the columns of a Parquet file, without reading them."""
        return self._try(path, lambda fs, full: pq.read_schema(full, filesystem=fs).names)

    def table_rows(self, path: str) -> int:
        """Number of rows of a Parquet file, without reading them."""
        return self._try(path, lambda fs, full: pq.read_metadata(full, filesystem=fs).num_rows)

    def write_table(self, path: str, table: pa.Table) -> None:
        """Write one Parquet file, all at once."""
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=_ROW_GROUP, compression="zstd")
        self.write_bytes(path, sink.getvalue())

    def delete(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it; it is no error when there is none."""

        def remove(fs: pafs.FileSystem, full: str) -> None:
            kind = fs.get_file_info(full).type
            if kind == pafs.FileType.File:
                fs.delete_file(full)
            elif kind == pafs.FileType.Directory:
                fs.delete_dir(full)

        self._try(path, remove)

    def check(self) -> None:
        """Write and remove a small object, so that a wrong bucket or key shows before anything is paid for.

        Raises:
            StorageError: the address cannot be written.
        """
        probe = f".probe-{uuid.uuid4().hex}"
        self.write_bytes(probe, b"abaw_ray")
        self.delete(probe)
