"""Converts errors of a full local disk, which differ between libraries, into one error that names the machine."""

import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from abaw_ray.core.errors import StorageError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NEARLY_FULL = 16 << 20
"""Free bytes of a disk that counts as full where the error does not say so (``torch.save`` raises a plain RuntimeError). Ours."""


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # raised where no folder can be written
        return os.environ.get("TMPDIR") or "/tmp"


@contextmanager
def disk_full_to_storage_error() -> Iterator[None]:
    """Raise a ``StorageError`` if the block fails because the disk of temporary files is full, which its input did not cause.

    Raises:
        StorageError: the disk is full; the block may succeed on another machine, or later.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        folder = _temporary_folder()
        if getattr(error, "errno", None) not in _DISK_FULL and shutil.disk_usage(folder).free > _NEARLY_FULL:
            raise
        message = f"{platform.node()}: {folder}: {' '.join(str(error).split())}"
        raise StorageError(f"{message}; the disk is full: free space there, or set TMPDIR to another folder") from error
