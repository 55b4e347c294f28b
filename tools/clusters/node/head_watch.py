"""Shuts this worker down when the head has been unreachable for some minutes: only the head ends idle machines, without it they stay and are paid.

    python head_watch.py HOST:PORT        the head's GCS; started by a cluster file on every worker, runs until the machine ends

On AWS the machine is then terminated (``InstanceInitiatedShutdownBehavior: terminate``); on Google Cloud it is stopped, and its disk is still paid.

Uses only the standard library. One process per machine: a second one gives the first its address and exits, so that a machine which a new head has
taken over watches the new one.
"""

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

LIMIT_S = 900.0
"""Seconds without a head until the machine shuts down; longer than `ray up` takes to restart Ray on the head. Ours."""
POLL_S = 30.0
"""Interval between two connections. Ours."""
TIMEOUT_S = 10.0
"""Timeout of a connection. Ours."""


def reachable(address: str) -> bool:
    """Return whether the head's GCS accepts connections at ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S):
            return True
    except OSError:
        return False


def shut_down() -> None:
    """Shut this machine down.

    Raises:
        CalledProcessError: it may not.
    """
    subprocess.run(["sudo", "-n", "shutdown", "-h", "now"], check=True)


def watch(
    address: Callable[[], str],
    shut_down: Callable[[], None],
    *,
    limit_s: float = LIMIT_S,
    poll_s: float = POLL_S,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Connect to the head every ``poll_s`` seconds; shut down and return when no connection has succeeded for ``limit_s``. Errors are retried."""
    last = clock()
    lost = False
    while True:
        where = address()
        if reachable(where):
            if lost:
                log(f"the head at {where} is reachable again")
            last, lost = clock(), False
        elif not lost:
            log(f"the head at {where} is unreachable; this machine shuts down in {limit_s / 60:.0f} minutes unless it returns")
            lost = True
        if clock() - last >= limit_s:
            log(f"no head for {limit_s / 60:.0f} minutes: shutting down")
            try:
                shut_down()
                return
            except (OSError, subprocess.CalledProcessError) as error:
                log(f"{error}; retrying")
        time.sleep(poll_s)


def log(text: str) -> None:
    """Print a line with the time."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


def main() -> None:
    """Watch the head, or give its address to the process that already does."""
    if len(sys.argv) != 2 or not sys.argv[1].rpartition(":")[2].isdigit():
        sys.exit("usage: head_watch.py HOST:PORT")
    folder = Path(os.environ.get("ABAW_HOME", Path.home()))
    file, new = folder / ".head_address", folder / f".head_address-{os.getpid()}"
    new.write_text(sys.argv[1])
    new.replace(file)
    with (folder / ".head_watch.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        log(f"watching the head at {sys.argv[1]}")
        watch(file.read_text, shut_down)


if __name__ == "__main__":
    main()
