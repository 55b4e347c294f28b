"""A read or write that failed -> once more after a pause, where that may help: the one way in which this package tries things again."""

import time
from collections.abc import Callable

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

_LONGEST = 10.0
"""Seconds of a pause at most."""
_FINAL = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")
"""What a store says of a refusal, as pyarrow repeats it."""


def may_pass(error: BaseException) -> bool:
    """A broken connection may be whole next time; a missing file or a refused key will not."""
    return (
        isinstance(error, OSError)
        and not isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError)
        and not any(code in str(error) for code in _FINAL)
    )


def retrying(attempts: int, *, pause: float = 0.3, sleep: Callable[[float], None] = time.sleep) -> Retrying:
    """What calls an action again while its error ``may_pass``; the last one is raised as itself.

    Args:
        attempts: How often in all.
        pause: Seconds, on average half of them, before the second attempt; twice as many before each further one, ten at most. Ours.
        sleep: Spends the pauses.
    """
    wait = wait_random_exponential(multiplier=pause, max=_LONGEST)
    return Retrying(retry=retry_if_exception(may_pass), stop=stop_after_attempt(attempts), wait=wait, sleep=sleep, reraise=True)
