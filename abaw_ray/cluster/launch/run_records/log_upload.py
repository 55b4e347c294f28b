"""The log of a command whose results go to an object store is copied there while the command runs: ``ray down`` deletes the machine that has it."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from abaw_ray.core.errors import AbawError, StorageError
from abaw_ray.core.repeated import repeated
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
    copy = _Copy(storage, log)
    try:
        with repeated(copy.update, interval_s), _error_in(log):
            yield
    finally:
        copy.update()


@contextmanager
def _error_in(log: Path) -> Iterator[None]:
    """Append the error that ends the block to the log."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError), log.open("a") as file:  # on a full disk, the error that ended the block counts
            file.write(f"error: {error}\n" if isinstance(error, AbawError) else traceback.format_exc())
        raise


@dataclass
class _Copy:
    """The copy of a log in the storage."""

    storage: Storage
    log: Path
    size: int = 0
    """Bytes of the log that it has."""

    def update(self) -> None:
        """Copy the log if it has grown."""
        try:
            data = self.log.read_bytes()  # it grows while it is read; a file of fixed size is uploaded
            if len(data) != self.size:
                self.storage.write_bytes(f"logs/{self.log.name}", data)
                self.size = len(data)
        except (StorageError, OSError) as error:
            _LOG.warning("the log could not be copied: %s", error)
