"""Videos through a child process that may hang, crash or eat memory: a second chance for each, and the good frames of those that have none.

A video counts as broken only when its own child died, failed, ran out of time or out of memory twice. Everything else that can end a run (a lost
worker, a lost machine, a lost connection) is nobody's fault here.
"""

import logging
import platform
import tempfile
from functools import partial
from pathlib import Path

from abaw_ray.core.errors import AbawError, ItemError, StorageError
from abaw_ray.core.watched import ChildDied, Limits, Watched
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.part import Done, WriteParts
from abaw_ray.faces.pieces import ROWS, Piece
from abaw_ray.faces.spool import Spool
from abaw_ray.faces.stitch import SeamError
from abaw_ray.faces.stretches import Span

_CHANCES = 2
"""Children that a video may cost before it counts as broken."""
_OTHERS = (AbawError, SeamError, FileNotFoundError)
"""What the work says by itself: no accident of the child's, and not to be tried again."""


class GuardedParts:
    """``WriteParts`` in a child process of its own."""

    def __init__(self, config: FacesConfig, limits: Limits, weights: bytes | None = None) -> None:
        """Nothing starts before the first call."""
        self.child = Watched(partial(WriteParts, config, weights), limits)
        self.limits = limits

    def whole(self, video: dict, path: Path) -> Done:
        """As ``WriteParts.whole``; where it cannot be decoded to its end, the result holds what came before."""
        reason, reached = self._try("whole", video, path)
        if reason is None:
            return reached
        done = self._rescue(reason, reached, "whole", video, path)
        done.broke = ItemError(reason, done.frames)
        return done

    def cut(self, video: dict, span: Span, folder: Path) -> Piece:
        """As ``WriteParts.cut``; likewise."""
        reason, reached = self._try("cut", video, span, folder)
        if reason is None:
            return reached
        try:
            piece = self._rescue(reason, reached, "cut", video, span, folder)
        except ItemError:
            Spool(folder / ROWS).finish()
            piece = Piece()
        piece.broke, piece.complete = reason, False
        piece.write(folder)
        return piece

    def join(self, video: dict, folders: list[Path], path: Path) -> Done:
        """As ``WriteParts.join``.

        Raises:
            ItemError: it ended two children.
        """
        reason, done = self._try("join", video, folders, path)
        if reason is not None:
            raise ItemError(reason)
        return done

    def close(self) -> None:
        """End the child."""
        self.child.close()

    def _try(self, *call: object) -> tuple[None, Done | Piece] | tuple[str, int]:
        """The result; or why there is none, and how many frames were decoded in any case."""
        reached, reason = [], ""
        for _ in range(_CHANCES):
            try:
                return None, self._once(*call)
            except _OTHERS:
                raise
            except ChildDied as death:
                reason = f"{death.reason}, twice"
            except MemoryError:
                reason = f"it needs more than {self.limits.memory_mb} MB, twice; raise compute.limits.memory-mb"
            except Exception as error:  # a defect of ours that this video brings to light: it must not cost the others
                logging.exception("%s", call[1]["uri"])
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}, twice; please report it with this video"
            reached.append(self.child.reached)
        return reason, min(reached)

    def _once(self, *call: object) -> Done | Piece:
        """One attempt.

        Raises:
            StorageError: the store or the local disk was at fault; it may go well later.
            Exception: as ``Watched`` and ``WriteParts``.
        """
        try:
            return self.child(*call)
        except ChildDied as death:
            if death.waiting:
                raise StorageError(f"{call[1]['uri']}: {death.reason} while it was read; run it again when the store answers") from None
            raise
        except _OTHERS:
            raise
        except OSError as error:
            raise StorageError(f"{platform.node()}: {tempfile.gettempdir()}: {error}; the disk is full or cannot be written") from error

    def _rescue(self, reason: str, reached: int, *call: object) -> Done | Piece:
        """Decode no further than both children got, or to the frame before (one of the two was too much), or half as far (memory fills slowly).

        Raises:
            ItemError: that does not go well either.
        """
        for last in sorted({reached, reached - 1, reached // 2} - {-1, 0}, reverse=True):
            try:
                return self._once(*call, last)
            except _OTHERS:
                raise
            except Exception as error:
                logging.warning("%s: %s, and again before frame %d (%s)", call[1]["uri"], reason, last, error)
        raise ItemError(reason)
