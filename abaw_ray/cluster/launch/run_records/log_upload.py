"""The log of a command whose results go to an object store is copied there while the command runs: ``ray down`` deletes the machine that has it."""

import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from abaw_ray.core.errors import AbawError, StorageError
from abaw_ray.core.storage.storage import Storage

_LOG = logging.getLogger(__name__)
_INTERVAL_S = 180.0
"""Seconds between two copies. Ours."""


@contextmanager
def log_uploaded(storage: Storage, log: Path, interval_s: float = _INTERVAL_S) -> Iterator[None]:
    """Copy a log to ``logs/`` below the storage root every few minutes while the block runs, and at its end with the error that ended it.

    Args:
        storage: Where the copy goes. If it cannot be written there, or the log cannot be read, the block is not disturbed.
        log: The local log.
        interval_s: Seconds between two copies.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_upload_again, args=(storage, log, interval_s, ended), daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        with suppress(OSError), log.open("a") as file:  # on a full disk, the error that ended the block counts
            file.write(f"error: {error}\n" if isinstance(error, AbawError) else traceback.format_exc())
        raise
    finally:
        ended.set()
        thread.join(timeout=60)
        _upload(storage, log, 0)


def _upload_again(storage: Storage, log: Path, interval_s: float, ended: threading.Event) -> None:
    uploaded = 0
    while not ended.wait(interval_s):
        uploaded = _upload(storage, log, uploaded)


def _upload(storage: Storage, log: Path, uploaded: int) -> int:
    """Copy the log if it has grown; returns the number of bytes that the copy has."""
    try:
        data = log.read_bytes()  # it grows while it is read; a file of fixed size is uploaded
        if len(data) == uploaded:
            return uploaded
        storage.write_bytes(f"logs/{log.name}", data)
    except (StorageError, OSError) as error:
        _LOG.warning("the log could not be copied: %s", error)
        return uploaded
    return len(data)
