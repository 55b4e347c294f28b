"""Videos through a child process that may hang, crash or eat memory: a second chance for each, and the good frames of those that have none.

A video counts as broken only when its own child died, failed, ran out of time or out of memory twice. Everything else that can end a run (a lost
worker, a lost machine, a lost connection) is nobody's fault here.
"""

import logging
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
        """As ``WriteParts.join``."""
        return self.child("join", video, folders, path)

    def close(self) -> None:
        """End the child."""
        self.child.close()

    def _try(self, *call: object) -> tuple[None, Done | Piece] | tuple[str, int]:
        """The result; or why there is none, and how many frames were decoded in any case."""
        reached, reason = [], ""
        for _ in range(_CHANCES):
            try:
                return None, self.child(*call)
            except ChildDied as death:
                if death.waiting:
                    raise StorageError(f"{call[1]['uri']}: {death.reason} while it was read; run it again when the store answers") from None
                reached.append(death.reached)
                reason = f"{death.reason}, twice"
            except MemoryError:
                reached.append(0)
                reason = f"it needs more than {self.limits.memory_mb} MB, twice; raise compute.limits.memory-mb"
            except (AbawError, SeamError, FileNotFoundError):
                raise
            except OSError as error:
                raise StorageError(f"{tempfile.gettempdir()}: {error}; the local disk is full or cannot be written") from error
            except Exception as error:  # a defect of ours that this video brings to light: it must not cost the others
                logging.exception("%s", call[1]["uri"])
                reached.append(0)
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}, twice; please report it with this video"
        return reason, min(reached)

    def _rescue(self, reason: str, reached: int, *call: object) -> Done | Piece:
        """Decode no further than both children got.

        Raises:
            ItemError: that does not go well either.
        """
        try:
            if reached:
                return self.child(*call, reached)
        except (ChildDied, MemoryError):
            logging.warning("%s: %s, and again before frame %d", call[1]["uri"], reason, reached)
        raise ItemError(reason)
