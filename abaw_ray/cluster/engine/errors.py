"""An error -> the line that the user sees, also where Ray tells in pages of a machine on which it cannot even start a process."""

import re

from abaw_ray.core.errors import AbawError, StageError

_SAID = "Failed to set up runtime environment"
"""How Ray's ``RuntimeEnvSetupError`` begins, in whatever it was wrapped."""


def to_user_error(error: BaseException) -> AbawError | None:
    """One of ours as itself, Ray's as one line that names the machine; None where it is neither, and keeps its traceback."""
    if isinstance(error, AbawError):
        return error
    said = str(error)
    if _SAID not in said:
        return None
    machine = re.search(r"\[Node ([^\]\s]+)\]", said)
    reasons = re.findall(r"^(?:[A-Za-z_.]*Error|[A-Za-z_.]*Exception)\b.*$", said, re.MULTILINE)
    where, why = machine[1] if machine else "a machine", reasons[-1].strip() if reasons else "no reason is given"
    return StageError(f"{where}: Ray cannot start a process there ({why}); mend that machine or take it out of the cluster, and run the same command")
