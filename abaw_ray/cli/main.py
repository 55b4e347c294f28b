"""The command ``abaw-ray``: finds the command, imports its module and runs it. The help of all commands imports nothing else."""

import difflib
import importlib
import sys
from itertools import groupby

from abaw_ray import __version__
from abaw_ray.cli.commands import COMMANDS
from abaw_ray.core.errors import AbawError

_PLATFORM = "linux"


def main(*command: str) -> None:
    """Run the command line of this process and end the process with an exit code.

    Args:
        command: Words before those of ``sys.argv``: the name of the command, for a script that runs only that one.
    """
    name, *args = [*command, *sys.argv[1:]] or [""]
    if name in ("", "-h", "--help", "help"):
        print(overview())
        sys.exit(0 if name else 2)
    if name in ("-V", "--version", "version"):
        print(f"abaw-ray {__version__}")
        sys.exit(0)
    if sys.platform != _PLATFORM:
        _fail(f"abaw-ray runs on Linux, not on {sys.platform}; use WSL 2 on Windows, or a Linux container (Docker, Podman) on any system", 2)
    module = next((entry.module for entry in COMMANDS if entry.name == name), "")
    if not module:
        similar = difflib.get_close_matches(name, [entry.name for entry in COMMANDS], n=1)
        hint = f"did you mean {similar[0]}? (see abaw-ray --help)" if similar else "see abaw-ray --help"
        _fail(f"abaw-ray has no command '{name}'; {hint}", 2)
    try:
        sys.exit(importlib.import_module(module).main(name, args))
    except AbawError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def overview() -> str:
    """The help that lists all commands in their groups."""
    lines = ["usage: abaw-ray COMMAND [options]", "", "Frame-level facial expression recognition in videos, on one machine or a Ray cluster."]
    width = max(len(entry.name) for entry in COMMANDS)
    for group, entries in groupby(COMMANDS, key=lambda entry: entry.group):
        lines += ["", group, *(f"  {entry.name.ljust(width)}  {entry.does}" for entry in entries)]
    return "\n".join([*lines, "", "abaw-ray COMMAND --help   everyday options and examples", "abaw-ray --version"])


def _fail(message: str, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
