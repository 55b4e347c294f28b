"""Sound through a child process that may hang, crash or eat memory: a file whose pictures were good may still have sound that is not."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
from abaw_ray.core.process.crash_retry import Chances
from abaw_ray.media.audio import Audio, decode_audio

_Told = tuple[float, np.ndarray | None] | None
"""Start and spans; the samples go through a file, for they may be a gigabyte."""


class GuardedSound:
    """``decode_audio`` in a child process of its own."""

    def __init__(self, limits: ChildLimits, decode: Callable[[str], Audio | None] = decode_audio) -> None:
        """Nothing starts before the first call."""
        self._chances: Chances[_Told] = Chances(ChildProcess(functools.partial(_Decoder, decode), limits))

    def __call__(self, uri: str) -> Audio | None:
        """As ``decode_audio``.

        Raises:
            ItemError: there is sound of which nothing can be decoded, or it ended two children.
            MissingError: there is no such file.
            StorageError: the store or the local disk was at fault; it may go well later.
        """
        with tempfile.TemporaryDirectory(prefix="abaw-sound-") as folder:
            path = Path(folder) / "samples.npy"
            outcome = self._chances.two(uri, uri, path)
            if outcome.reason:
                raise ItemError(outcome.reason)
            return outcome.value and Audio(np.load(path), *outcome.value)

    def close(self) -> None:
        """End the child."""
        self._chances.child.close()


class _Decoder:
    """The work inside the child."""

    def __init__(self, decode: Callable[[str], Audio | None]) -> None:
        self.decode = decode

    def __call__(self, uri: str, path: Path) -> _Told:
        audio = self.decode(uri)
        if audio is None:
            return None
        np.save(path, audio.samples)
        return audio.start, audio.spans
