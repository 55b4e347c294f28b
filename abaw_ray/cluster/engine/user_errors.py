"""Conversion of errors to one line for the user, including Ray's error for a machine on which it cannot start a process."""

import re
from typing import Any

from abaw_ray.core.errors import AbawError, StageError

_SETUP_FAILED = "Failed to set up runtime environment"
"""First words of Ray's ``RuntimeEnvSetupError``, however it is wrapped."""

MORE_MEMORY = "use a machine with more memory"
"""What to do where a task was killed for lack of memory and no setting lowers what it needs."""


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


def fetch(ref: Any, work: str, remedy: str = MORE_MEMORY) -> Any:
    """The result of a Ray task; an ``AbawError`` that it raised is raised without Ray's wrapping.

    Args:
        ref: Reference to the result.
        work: Stage and part of it, for messages.
        remedy: What to do where the task was killed for lack of memory.

    Raises:
        StageError: the task, or one whose result it needs, lost its process, its machine or its memory in every attempt.
    """
    import ray
    from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayError, WorkerCrashedError

    try:
        return ray.get(ref)
    except RayError as error:
        cause = getattr(error, "cause", None) or error
        if isinstance(cause, NodeDiedError | ObjectLostError | OutOfMemoryError | WorkerCrashedError):
            raise task_death_error(work, str(cause), remedy) from error
        raise unwrapped(error) from None


def task_death_error(work: str, text: str, remedy: str = MORE_MEMORY) -> StageError:
    """The error for a task that died in every attempt.

    Args:
        work: Stage and part of it.
        text: Ray's message, which names the machine if it killed the task for lack of memory.
        remedy: What to do in that case.
    """
    if memory := re.search(r"\(IP: ([^,)]+)[^\n]*\bwas (\S+) used / (\S+) limit", text):
        machine, used, total = memory.groups()
        return StageError(f"{work}: {machine} has too little memory for it ({used} of {total} were in use when it was killed); {remedy}")
    reason = " ".join(text.strip().splitlines()[:1]).rstrip(".")
    return StageError(f"{work}: it was lost in every attempt ({reason}); see `ray list nodes` and the logs of the workers, then run the same command")
