"""A watched child's second chance: what ends two children is the fault of what they were given; what it was in one line, never a lost run."""

import logging
import platform
import tempfile
from dataclasses import dataclass
from typing import Generic, TypeVar

from abaw_ray.core.errors import AbawError, StorageError
from abaw_ray.core.process.child_process import ChildDied, ChildProcess

T = TypeVar("T")
_CHANCES = 2
"""Children that a file may cost before it counts as broken."""
_OTHERS = (AbawError, FileNotFoundError)


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a call."""

    value: T | None = None
    reason: str = ""
    """Why there is no value: what ended both children."""
    reached: int = 0
    """How far both got, in what they give to ``beat``."""


@dataclass
class Chances(Generic[T]):
    """A child, and what its work says by itself: no accident of the child's, and not to be tried again."""

    child: ChildProcess
    own: tuple[type[Exception], ...] = ()
    """Besides the errors of this package and a missing file."""

    @property
    def said(self) -> tuple[type[Exception], ...]:
        """All errors that are the work's own word."""
        return (*_OTHERS, *self.own)

    def two(self, uri: str, *call: object) -> Outcome[T]:
        """The result of a call; or what ended two children.

        Args:
            uri: The file that the call is about, for messages.
            call: Its arguments.

        Raises:
            StorageError: as ``once``.
            Exception: what the work says by itself.
        """
        reached, reason = [], ""
        for _ in range(_CHANCES):
            try:
                return Outcome(self.once(uri, *call))
            except self.said:
                raise
            except ChildDied as death:
                reason = f"{death.reason}, twice"
            except MemoryError:
                reason = f"it needs more than {self.child.limits.memory_mb} MB, twice; raise compute.limits.memory-mb"
            except Exception as error:  # a defect of ours that this file brings to light: it must not cost the others
                logging.exception("%s", uri)
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}, twice; please report it with this video"
            reached.append(self.child.reached)
        return Outcome(None, reason, min(reached))

    def once(self, uri: str, *call: object) -> T:
        """One attempt.

        Raises:
            StorageError: the store or the local disk was at fault; it may go well later.
            Exception: as ``ChildProcess``.
        """
        try:
            return self.child(*call)
        except ChildDied as death:
            if death.waiting:
                raise StorageError(f"{uri}: {death.reason} while it was read; run it again when the store answers") from None
            raise
        except self.said:
            raise
        except OSError as error:
            raise StorageError(f"{platform.node()}: {tempfile.gettempdir()}: {error}; the disk is full or cannot be written") from error
