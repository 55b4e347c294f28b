"""Converts errors of a full local disk, which differ between libraries, into one error that names the machine."""

import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError

from abaw_ray.core.errors import AbawError, StorageError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NEARLY_FULL = 16 << 20
"""Free bytes of a disk that counts as full where the error does not say so (``torch.save`` raises a plain RuntimeError). Ours."""


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # raised where no folder can be written
        return os.environ.get("TMPDIR") or "/tmp"


def _is_disk_full(error: Exception, folder: str) -> bool:
    if isinstance(error, SafetensorError):  # has no errno
        return any(os.strerror(code) in str(error) for code in _DISK_FULL)
    if getattr(error, "errno", None) in _DISK_FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and shutil.disk_usage(folder).free <= _NEARLY_FULL


@contextmanager
def disk_full_to_storage_error() -> Iterator[None]:
    """Raise a ``StorageError`` if the block fails because the disk of temporary files is full, which its input did not cause.

    Raises:
        StorageError: the disk is full; the block may succeed on another machine, or later.
    """
    try:
        yield
    except AbawError:
        raise  # has its own message
    except Exception as error:
        folder = _temporary_folder()
        if not _is_disk_full(error, folder):
            raise
        message = f"{platform.node()}: {folder}: {' '.join(str(error).split())}"
        raise StorageError(f"{message}; the disk is full: free space there, or set TMPDIR to another folder") from error
