"""The retry policy for reads and writes: transient errors are retried with exponential backoff, others are raised at once, with advice."""

import errno
import os
import time
from collections.abc import Callable

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

_MAX_PAUSE = 10.0
"""Upper bound of the pause between two attempts, in seconds."""
_PERMANENT_CODES = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")
"""Error codes of object stores, as in pyarrow's messages, for which a retry does not help."""


def is_transient(error: BaseException) -> bool:
    """Whether a retry may succeed: after a broken connection, but not after a missing file or a rejected key."""
    return (
        isinstance(error, OSError)
        and not isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
        and not any(code in str(error) for code in _PERMANENT_CODES)
    )


def retrying(attempts: int, *, pause: float = 0.3, sleep: Callable[[float], None] = time.sleep) -> Retrying:
    """A tenacity policy: repeats a call while its error ``is_transient``, and raises the last error unchanged.

    Args:
        attempts: Number of attempts in all.
        pause: Upper bound of the random pause before the second attempt, in seconds; it doubles with each attempt, up to 10 s. Ours.
        sleep: Sleeps for a pause.
    """
    wait = wait_random_exponential(multiplier=pause, max=_MAX_PAUSE)
    return Retrying(retry=retry_if_exception(is_transient), stop=stop_after_attempt(attempts), wait=wait, sleep=sleep, reraise=True)


def advice(reason: str) -> str:
    """Advice to the user after a failed request."""
    if "MissingContentLength" in reason:  # HTTP 411
        return "this store does not support trailing checksums: give --storage.checksums when_required"
    if os.strerror(errno.ENOSPC) in reason:
        return "the disk is full: free space there, or choose another folder"
    return "check the URI, the credentials and storage.endpoint"
