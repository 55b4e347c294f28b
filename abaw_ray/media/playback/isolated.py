"""Writes a video and its sound in a child process, because a broken file may make a decoder hang, crash or exhaust memory.

The sound is written by a call of its own: if that fails twice, the video is written without sound.
"""

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.core.process.crash_retry import CrashRetry
from abaw_ray.media.playback.proxy import first_frame_time
from abaw_ray.media.playback.sound import Sound, extract_sound

WriteVideo = Callable[..., int]
"""``(uri, path, sound, start, *args)`` -> number of frames, as ``write_proxy``."""
ExtractSound = Callable[[str, Path, float, float | None], Sound]
"""As ``extract_sound``."""


@dataclass(frozen=True)
class WrittenVideo:
    """A video that was written."""

    offset: float
    """Seconds: a frame of time t in the table is at t - ``offset`` in the file."""
    frames: int
    sound: Sound


class IsolatedVideoWriter:
    """A function like ``write_proxy`` in a child process."""

    def __init__(self, write: WriteVideo, limits: ChildLimits, sound: ExtractSound = extract_sound) -> None:
        """No process starts before the first call. ``write`` and ``sound`` must be picklable."""
        self._crash_retry: CrashRetry[Any] = CrashRetry(ChildProcess(functools.partial(_Work, write, sound), limits))

    def __call__(self, uri: str, path: Path, *args: object, start: float | None = None, end: float | None = None) -> WrittenVideo:
        """Write a video with its sound.

        Args:
            uri: A local path or a URI that pyarrow understands.
            path: An ``.mp4`` file in an existing folder; not written atomically, and deleted after an error.
            args: Further arguments of the function.
            start: Time of the first frame in seconds, where it is known.
            end: Time at which the sound ends, in seconds; None for all of it.

        Raises:
            ItemError: no frame can be decoded, or both attempts failed.
            MissingError: there is no such file.
            StorageError: the store or the local disk failed; a retry may succeed.
        """
        try:
            start = float(self._run(uri, "start", uri)) if start is None else start
            with tempfile.TemporaryDirectory(prefix="abaw-sound-") as folder:
                sound_path = Path(folder) / "sound.m4a"
                outcome = self._crash_retry.call(uri, "sound", uri, sound_path, start, end)
                sound = outcome.value or Sound("none", f"decoding its audio failed: {outcome.reason}")
                frames = self._run(uri, "video", uri, path, None if sound.kind == "none" else sound_path, start, *args)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return WrittenVideo(start, frames, sound)

    def _run(self, uri: str, *call: object) -> Any:
        outcome = self._crash_retry.call(uri, *call)
        if outcome.reason:
            raise ItemError(outcome.reason)
        return outcome.value

    def close(self) -> None:
        """End the child."""
        self._crash_retry.child.close()


class _Work:
    """The work inside the child: it has one entry point."""

    def __init__(self, write: WriteVideo, sound: ExtractSound) -> None:
        self.calls = {"start": first_frame_time, "sound": sound, "video": write}

    def __call__(self, method: str, *args: object) -> object:
        return self.calls[method](*args)
