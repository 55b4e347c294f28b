"""A machine's own disk that is full -> an error that says which machine, whoever noticed it and in whatever words."""

import errno
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from abaw_ray.core.errors import StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LITTLE = 16 << 20
"""Bytes left on a disk that counts as full where an error does not say so itself (``torch.save`` raises a plain RuntimeError). Ours."""


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # what it says where no folder takes a file
        return os.environ.get("TMPDIR") or "/tmp"


@contextmanager
def own_disk() -> Iterator[None]:
    """What fails in this block for want of room for temporary files is a matter of this machine, not of what it worked on.

    Raises:
        StorageError: the disk is full; the same may go well on another machine, or later.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        folder = _temporary()
        if getattr(error, "errno", None) not in _FULL and shutil.disk_usage(folder).free > _LITTLE:
            raise
        said = f"{platform.node()}: {folder}: {' '.join(str(error).split())}"
        raise StorageError(f"{said}; the disk is full: make room there, or name another folder with TMPDIR") from error
