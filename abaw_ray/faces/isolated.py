"""Videos through a child process that may hang, crash or eat memory: a second chance for each, and the good frames of those that have none.

A video counts as broken only when its own child died, failed, ran out of time or out of memory twice. Everything else that can end a run (a lost
worker, a lost machine, a lost connection) is nobody's fault here.
"""

import logging
from functools import partial
from pathlib import Path

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.core.process.crash_retry import CrashRetry, Outcome
from abaw_ray.faces.chunk_files import ROWS, Piece
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.output import Done, WriteParts
from abaw_ray.faces.stitch import SeamError
from abaw_ray.faces.tracking.segments import Span
from abaw_ray.faces.tracking.spool import Spool


class GuardedParts:
    """``WriteParts`` in a child process of its own."""

    def __init__(self, config: FacesConfig, limits: ChildLimits, weights: bytes | None = None) -> None:
        """Nothing starts before the first call."""
        self.crash_retry = CrashRetry(ChildProcess(partial(WriteParts, config, weights), limits), passthrough=(SeamError,))

    def whole(self, video: dict, path: Path) -> Done:
        """As ``WriteParts.whole``; where it cannot be decoded to its end, the result holds what came before."""
        outcome = self.crash_retry.call(video["uri"], "whole", video, path)
        if not outcome.reason:
            return outcome.value
        done = self._rescue(outcome, "whole", video, path)
        done.broke = ItemError(outcome.reason, done.frames)
        return done

    def cut(self, video: dict, span: Span, folder: Path) -> Piece:
        """As ``WriteParts.cut``; likewise."""
        outcome = self.crash_retry.call(video["uri"], "cut", video, span, folder)
        if not outcome.reason:
            return outcome.value
        try:
            piece = self._rescue(outcome, "cut", video, span, folder)
        except ItemError:
            Spool(folder / ROWS).finish()
            piece = Piece()
        piece.broke, piece.complete = outcome.reason, False
        piece.write(folder)
        return piece

    def join(self, video: dict, folders: list[Path], path: Path) -> Done:
        """As ``WriteParts.join``.

        Raises:
            ItemError: it ended two children.
        """
        outcome = self.crash_retry.call(video["uri"], "join", video, folders, path)
        if outcome.reason:
            raise ItemError(outcome.reason)
        return outcome.value

    def close(self) -> None:
        """End the child."""
        self.crash_retry.child.close()

    def _rescue(self, outcome: Outcome, *call: object) -> Done | Piece:
        """Decode no further than both children got, or to the frame before (one of the two was too much), or half as far (memory fills slowly).

        Raises:
            ItemError: that does not go well either.
        """
        uri, reached = call[1]["uri"], outcome.progress
        for last in sorted({reached, reached - 1, reached // 2} - {-1, 0}, reverse=True):
            try:
                return self.crash_retry.call_once(uri, *call, last)
            except self.crash_retry.passthrough_errors:
                raise
            except Exception as error:
                logging.warning("%s: %s, and again before frame %d (%s)", uri, outcome.reason, last, error)
        raise ItemError(outcome.reason)
