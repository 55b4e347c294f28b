"""Decodes audio in a child process, because broken audio, also of a file with good frames, may make a decoder hang, crash or exhaust memory."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.core.process.crash_retry import CrashRetry
from abaw_ray.media.audio import Audio, decode_audio

_StartAndSpans = tuple[float, np.ndarray | None] | None
"""The child's result: start and spans of an ``Audio``. The samples, up to a gigabyte, are passed in a file."""


class IsolatedAudioDecoder:
    """``decode_audio`` in a child process of its own."""

    def __init__(self, limits: ChildLimits, decode: Callable[[str], Audio | None] = decode_audio) -> None:
        """No process starts before the first call."""
        self._crash_retry: CrashRetry[_StartAndSpans] = CrashRetry(ChildProcess(functools.partial(_DecodeToFile, decode), limits))

    def __call__(self, uri: str) -> Audio | None:
        """As ``decode_audio``.

        Raises:
            ItemError: nothing of the audio can be decoded, or both attempts failed.
            MissingError: there is no such file.
            StorageError: the store or the local disk failed; a retry may succeed.
        """
        with tempfile.TemporaryDirectory(prefix="abaw-audio-") as folder:
            path = Path(folder) / "samples.npy"
            outcome = self._crash_retry.call(uri, uri, path)
            if outcome.reason:
                raise ItemError(outcome.reason)
            return outcome.value and Audio(np.load(path), *outcome.value)

    def close(self) -> None:
        """End the child."""
        self._crash_retry.child.close()


class _DecodeToFile:
    """The work inside the child."""

    def __init__(self, decode: Callable[[str], Audio | None]) -> None:
        self.decode = decode

    def __call__(self, uri: str, path: Path) -> _StartAndSpans:
        audio = self.decode(uri)
        if audio is None:
            return None
        np.save(path, audio.samples)
        return audio.start, audio.spans
