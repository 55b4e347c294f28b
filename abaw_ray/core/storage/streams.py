"""Bytes on their way into a store: written completely or not at all, and on a disk only when the disk has them."""

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
    """Wait until the disk has the content of a file: after a power failure its name could otherwise exist without its content."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
