"""Atomic writes: a file or object appears completely or not at all, and on a local disk only after its content is synced."""

import os
from collections.abc import Iterable
from contextlib import suppress

import pyarrow.fs as pafs


def write_stream(fs: pafs.FileSystem, path: str, blocks: Iterable[bytes]) -> None:
    """Write a file or object. An interrupted write (Ctrl-C, an unreadable source) deletes it: pyarrow completes every object that it closes."""
    out = fs.open_output_stream(path)
    try:
        for block in blocks:
            out.write(block)
    except BaseException:
        with suppress(OSError):  # if the store itself failed, this fails again, and there is nothing to delete
            out.close()
            fs.delete_file(path)
        raise
    out.close()


def sync_to_disk(path: str) -> None:
    """Sync a file to the disk: after a power failure its name could otherwise exist without its content."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
