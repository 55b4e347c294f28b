"""A writer of sound for tests in a child process: the name of the video selects whether it crashes."""

import os
import signal
from pathlib import Path

from abaw_ray.media.playback.sound import Sound, extract_sound


def sound_by_name(uri: str, path: Path, start: float, end: float | None = None) -> Sound:
    """``crash`` crashes at every call, ``once`` at the first one only."""
    before = Path(uri).with_suffix(".before")
    if Path(uri).stem == "crash" or (Path(uri).stem == "once" and not before.exists()):
        before.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return extract_sound(uri, path, start, end)
