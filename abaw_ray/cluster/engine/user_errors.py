"""Conversion of errors to one line for the user, including Ray's error for a machine on which it cannot start a process."""

import re
from typing import Any

from abaw_ray.core.errors import AbawError, StageError

_SETUP_FAILED = "Failed to set up runtime environment"
"""First words of Ray's ``RuntimeEnvSetupError``, however it is wrapped."""


def to_user_error(error: BaseException) -> AbawError | None:
    """An ``AbawError`` unchanged, Ray's set-up error as one line that names the machine; None for any other, which keeps its traceback."""
    if isinstance(error, AbawError):
        return error
    text = str(error)
    if _SETUP_FAILED not in text:
        return None
    machine = re.search(r"\[Node ([^\]\s]+)\]", text)
    reasons = re.findall(r"^(?:[A-Za-z_.]*Error|[A-Za-z_.]*Exception)\b.*$", text, re.MULTILINE)
    where, why = machine[1] if machine else "a machine", reasons[-1].strip() if reasons else "no reason is given"
    return StageError(f"{where}: Ray cannot start a process there ({why}); repair or remove that machine and run the same command")


def unwrapped(error: Exception) -> Exception:
    """The ``AbawError`` inside one of Ray's errors, or the given error."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, AbawError) else error


def fetch(ref: Any, what: str) -> Any:
    """The result of a Ray task; an ``AbawError`` that it raised is raised without Ray's wrapping.

    Args:
        ref: Reference to the result.
        what: The work, for messages: the name of a stage, or of a part of it.

    Raises:
        StageError: the process of the task died as often as Ray starts it.
    """
    import ray
    from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise unwrapped(error) from None
    except (OutOfMemoryError, WorkerCrashedError) as error:
        raise died(what, str(error)) from error


def died(what: str, text: str) -> StageError:
    """The error for a task whose process died as often as Ray starts it.

    Args:
        what: The work.
        text: Ray's message, which names the machine if it ended the process for lack of memory.
    """
    if memory := re.search(r"\(IP: ([^,)]+)[^\n]*\bwas (\S+) used / (\S+) limit", text):
        machine, used, total = memory.groups()
        return StageError(
            f"{what}: {machine} has too little memory for it ({used} of {total} were in use at the end); use a machine with more, or set"
            f" compute.fusion.memory-gb so high that fewer trials run there at the same time"
        )
    return StageError(f"{what}: its process died each time it was started; see the logs of Ray's workers (/tmp/ray/session_latest/logs)")
