"""Face extraction in a child process, which may hang, crash or run out of memory: one retry, then the frames before the failure are kept.

A video counts as broken only when its own child process died, failed, timed out or ran out of memory twice. A lost worker, node or connection
is not attributed to a video: the engine retries its item.
"""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.core.process.crash_retry import CrashRetry, Outcome
from abaw_ray.faces.chunk_result import ROWS_FILE, ChunkResult
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.output import FaceWriter, VideoResult
from abaw_ray.faces.stitch import ChunkMismatchError
from abaw_ray.faces.tracking.row_buffer import RowBuffer
from abaw_ray.faces.tracking.segments import Chunk
from abaw_ray.faces.tracking.time_range import ALL_TIMES, TimeRange


class IsolatedFaceWriter:
    """``FaceWriter`` in a child process."""

    def __init__(self, config: FacesConfig, limits: ChildLimits, weights: bytes | None = None, embedder_weights: bytes | None = None) -> None:
        """Prepare the child process; it starts with the first call. Arguments as ``FaceWriter``."""
        child = ChildProcess(partial(FaceWriter, config, weights, embedder_weights), limits)
        self.crash_retry: CrashRetry[Any] = CrashRetry(child, passthrough=(ChunkMismatchError,))

    def write_video(self, video: dict, path: Path, time_range: TimeRange = ALL_TIMES) -> VideoResult:
        """As ``FaceWriter.write_video``; where the video cannot be decoded to its end, the output has the frames before the failure.

        Raises:
            ItemError: none of the frames of the range can be decoded.
        """
        outcome = self.crash_retry.call(video["uri"], "write_video", video, path, time_range)
        if not outcome.reason:
            return _value(outcome)
        result: VideoResult = self._retry_shorter(outcome, "write_video", video, path, time_range)
        if not result.rows:
            raise ItemError(outcome.reason)
        result.error = ItemError(outcome.reason, result.frames)
        return result

    def write_still(self, image: dict, path: Path) -> VideoResult:
        """As ``FaceWriter.write_still``.

        Raises:
            ItemError: the file is not an image, is damaged, or both attempts failed.
        """
        outcome = self.crash_retry.call(image["uri"], "write_still", image, path)
        if outcome.reason:
            raise ItemError(outcome.reason)
        return _value(outcome)

    def write_crops(self, video: dict, path: Path) -> VideoResult:
        """As ``FaceWriter.write_crops``.

        Raises:
            ItemError: no frame of the video can be decoded, or both attempts failed.
        """
        outcome = self.crash_retry.call(video["uri"], "write_crops", video, path)
        if outcome.reason:
            raise ItemError(outcome.reason)
        return _value(outcome)

    def write_chunk(self, video: dict, chunk: Chunk, folder: Path) -> ChunkResult:
        """As ``FaceWriter.write_chunk``; where the chunk cannot be decoded to its end, the result has the frames before the failure."""
        outcome = self.crash_retry.call(video["uri"], "write_chunk", video, chunk, folder)
        if not outcome.reason:
            return _value(outcome)
        try:
            result: ChunkResult = self._retry_shorter(outcome, "write_chunk", video, chunk, folder)
        except ItemError:
            RowBuffer(folder / ROWS_FILE).finish()
            result = ChunkResult()
        result.error, result.reached_end = outcome.reason, False
        result.write(folder)
        return result

    def join_chunks(self, video: dict, folders: list[Path], path: Path) -> VideoResult:
        """As ``FaceWriter.join_chunks``.

        Raises:
            ItemError: both attempts failed.
        """
        outcome = self.crash_retry.call(video["uri"], "join_chunks", video, folders, path)
        if outcome.reason:
            raise ItemError(outcome.reason)
        return _value(outcome)

    def close(self) -> None:
        """End the child process."""
        self.crash_retry.child.close()

    def _retry_shorter(self, outcome: Outcome[Any], method: str, video: dict, *args: object) -> Any:
        """Decode the frames that both attempts reached; else one frame less, or half of them.

        The last frame, or the one after it, may be the cause of a crash; memory may fill slowly.

        Raises:
            ItemError: none of these succeeds.
        """
        uri, reached = video["uri"], outcome.progress
        for last in sorted({reached, reached - 1, reached // 2} - {-1, 0}, reverse=True):
            try:
                return self.crash_retry.call_once(uri, method, video, *args, last)
            except self.crash_retry.passthrough_errors:
                raise
            except Exception as error:
                logging.warning("%s: %s; decoding the first %d frames failed too (%s)", uri, outcome.reason, last, error)
        raise ItemError(outcome.reason)


def _value(outcome: Outcome[Any]) -> Any:
    """Return the value of a successful call; its type depends on the method called."""
    return outcome.value
