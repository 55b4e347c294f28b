"""Retries a call once in a new child process; a second crash is attributed to the input and returned as a reason, not raised."""

import logging
import platform
import tempfile
from dataclasses import dataclass
from typing import Generic, TypeVar

from abaw_ray.core.errors import AbawError, StorageError
from abaw_ray.core.process.child_process import ChildDied, ChildProcess

T = TypeVar("T")
_ATTEMPTS = 2
"""Attempts, each in a new child, after which a failure is attributed to the input."""


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """The result of a call, or the reason why there is none."""

    value: T | None = None
    reason: str = ""
    """How the last attempt failed; empty where there is a value."""
    progress: int = 0
    """Least progress of the attempts, as passed to ``heartbeat``; 0 where there is a value."""


@dataclass
class CrashRetry(Generic[T]):
    """Calls of a child process that are retried once after a crash, a stall or an unexpected error."""

    child: ChildProcess
    passthrough: tuple[type[Exception], ...] = ()
    """Errors that are raised at once, besides those of this package and ``FileNotFoundError``."""

    @property
    def passthrough_errors(self) -> tuple[type[Exception], ...]:
        """All errors that the work raises deliberately: they are raised at once and not retried."""
        return (AbawError, FileNotFoundError, *self.passthrough)

    def call(self, uri: str, *args: object) -> Outcome[T]:
        """The result of a call, or the reason why both attempts failed.

        Args:
            uri: The file that the call is about, for messages.
            args: Arguments of the call.

        Raises:
            StorageError: as ``call_once``.
            Exception: one of ``passthrough_errors``.
        """
        progress, reason = [], ""
        for _ in range(_ATTEMPTS):
            try:
                return Outcome(self.call_once(uri, *args))
            except self.passthrough_errors:
                raise
            except ChildDied as error:
                reason = f"{error.reason}, twice"
            except MemoryError:
                reason = f"it needed more than {self.child.limits.memory_mb} MB, twice; raise compute.limits.memory-mb"
            except Exception as error:  # a bug in this package that this file triggers: the other files are still processed
                logging.exception("%s", uri)
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}, twice; please report it with this video"
            progress.append(self.child.progress)
        return Outcome(None, reason, min(progress))

    def call_once(self, uri: str, *args: object) -> T:
        """The result of one attempt.

        Raises:
            StorageError: the store or the local disk failed; a retry may succeed.
            Exception: as ``ChildProcess``.
        """
        try:
            return self.child(*args)
        except ChildDied as death:
            if death.in_io_wait:
                raise StorageError(f"{uri}: {death.reason} while it was read; run the command again when the store is reachable") from None
            raise
        except self.passthrough_errors:
            raise
        except OSError as error:
            raise StorageError(f"{platform.node()}: {tempfile.gettempdir()}: {error}; the disk is full or cannot be written") from error
