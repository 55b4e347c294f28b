"""What Ray says of a machine on which it cannot even start a process, in pages -> one line that names the machine."""

import re

from abaw_ray.core.errors import StageError

_SAID = "Failed to set up runtime environment"
"""How Ray's ``RuntimeEnvSetupError`` begins, in whatever it was wrapped."""


def machine_error(error: BaseException) -> StageError | None:
    """The line for the user; None where the error is another one."""
    said = str(error)
    if _SAID not in said:
        return None
    machine = re.search(r"\[Node ([^\]\s]+)\]", said)
    reasons = re.findall(r"^(?:[A-Za-z_.]*Error|[A-Za-z_.]*Exception)\b.*$", said, re.MULTILINE)
    where, why = machine[1] if machine else "a machine", reasons[-1].strip() if reasons else "no reason is given"
    return StageError(f"{where}: Ray cannot start a process there ({why}); mend that machine or take it out of the cluster, and run the same command")
