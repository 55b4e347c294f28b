"""A Ray of this process: its start, which is repeated on a busy machine, and its end."""

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from abaw_ray.core.errors import StageError
from abaw_ray.core.progress import echo

STARTS = 3
"""Attempts to start Ray. Ours."""
_END_S = 10.0
"""Longest wait for the end of a process of a local Ray, in seconds. Ours."""
_TIMED_OUT = "timed out during startup"
"""Part of the message of the error that Ray raises where its processes start too slowly; the error has no class of its own."""


def start(**options: Any) -> None:
    """Start a Ray that no other process joins.

    Ray gives up where its agent needs more than 15 s to start, and neither that nor the 30 s for the whole start can be set. On a machine with much
    other work both are exceeded at times, so it is started again then.

    Args:
        options: Arguments of ``ray.init``.

    Raises:
        StageError: it did not start in the last attempt either.
    """
    import ray

    for attempt in range(1, STARTS + 1):
        before = _processes()
        try:
            ray.init(address="local", **options)
            return
        except Exception as error:
            if _TIMED_OUT not in str(error):
                raise
            _kill(_processes() - before)  # Ray leaves those that it has started
            if attempt == STARTS:
                remedy = "most often the machine has too much other work: end some and try again; Ray's logs: /tmp/ray/session_latest/logs"
                raise StageError(f"Ray did not start in {STARTS} attempts ({str(error).partition('. ')[0]}); {remedy}") from error
            echo(f"Ray's processes started too slowly: attempt {attempt + 1} of {STARTS}")


def shutdown() -> None:
    """Disconnect, end a local Ray, and wait for its processes: Ray kills those that take longer than a second, but does not wait for them."""
    import ray
    from ray._private import worker

    node: Any = worker._global_node
    processes = [one.process for group in node.all_processes.values() for one in group] if node else []
    ray.shutdown()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_S)


def _processes() -> set[psutil.Process]:
    """Ray's processes that are children of this process, and their descendants."""
    import ray

    found, package = set[psutil.Process](), str(Path(ray.__file__).parent)
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if package in " ".join(child.cmdline()):  # another thread may have started the others
                found |= {child, *child.children(recursive=True)}
    return found


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(processes), timeout=_END_S)
