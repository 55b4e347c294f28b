"""An audio decoder for tests in a child process: the name of the file selects how it fails."""

import os
import signal
import time
from pathlib import Path

from abaw_ray.media.audio import Audio, decode_audio


def decoded(uri: str) -> Audio | None:
    """The decoded audio; crash, hang and defect fail in that way, and ``once`` crashes at the first call only."""
    path = Path(uri)
    before = path.with_suffix(".before")
    if path.stem == "crash" or (path.stem == "once" and not before.exists()):
        before.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.stem == "hang":
        time.sleep(60)
    if path.stem == "defect":
        raise ZeroDivisionError("by zero")
    return decode_audio(uri)
