"""One writer a home: a second run on the same results is refused, a dead writer's claim is taken over.

The claim is a small file in the home, renewed while its owner lives. It guards against two people starting the same command, which is
what happens; parts are written whole anyway, so even two writers could not leave half a result. Whether a writer on this machine lives is
asked of the machine; one on another, which may be gone, is watched until it renews its claim or has not for too long. A writer that was cut
off and comes back leaves the claim of who followed it alone.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from abaw_ray.core.errors import BusyError, StorageError
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.storage import Storage

_BEAT = 20.0
"""Seconds between two signs of life."""
_STALE = 6 * _BEAT
"""Seconds without one after which a writer on another machine counts as dead."""
_BEYOND = 3600.0
"""Seconds since a sign of life after which that writer is not looked for: no clock is so wrong."""
_LOOK = 2.0
"""Seconds between two looks at such a writer's claim."""
_SETTLE = 0.2
"""Seconds until a claim is read again: of two that claim at once, only the last one finds its own name."""


@contextmanager
def only_writer(storage: Storage, home: str) -> Iterator[None]:
    """Hold the home while the block runs; first, where a writer on another machine may be gone, wait up to two minutes for a sign of life.

    Args:
        storage: Where the home lies.
        home: Its path below the storage root.

    Raises:
        BusyError: another run that still lives holds it; the message says which machine and process.
    """
    path, claim = f"{home}/writer.json", _claim()
    if (other := _read(storage, path)) and _lives(storage, path, other):
        raise _busy(storage, path, other)
    storage.write_bytes(path, json.dumps(claim).encode())
    time.sleep(_SETTLE)
    if (other := _read(storage, path)) and other["owner"] != claim["owner"]:
        raise _busy(storage, path, other)
    stop = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(storage, path, claim, stop), daemon=True)
    heartbeat.start()
    try:
        yield
    finally:
        stop.set()
        heartbeat.join(timeout=5)
        if _owns(storage, path, claim):
            storage.delete(path)


def _claim() -> dict:
    process = psutil.Process()
    here = {"host": socket.gethostname(), "machine": _machine(), "pid": process.pid, "born": process.create_time()}
    return {"owner": uuid.uuid4().hex, **here, "heartbeat": time.time()}


def _machine() -> str:
    """Names the set of processes among which a number means one: several machines, and containers of one, may have the same host name."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def _read(storage: Storage, path: str) -> dict | None:
    try:
        return json.loads(storage.read_bytes(path))
    except FileNotFoundError:
        return None


def _owns(storage: Storage, path: str, claim: dict) -> bool:
    return (_read(storage, path) or {}).get("owner") == claim["owner"]


def _busy(storage: Storage, path: str, other: dict) -> BusyError:
    return BusyError(
        f"{storage.uri(path)}: process {other['pid']} on {other['host']} is writing here; wait for it, "
        "or delete this file if that machine is gone for good"
    )


def _lives(storage: Storage, path: str, claim: dict) -> bool:
    return _lives_here(claim) if claim.get("machine") == _machine() else _beats(storage, path, claim)


def _lives_here(claim: dict) -> bool:
    if claim["pid"] == os.getpid():
        return True
    try:
        process = psutil.Process(claim["pid"])
        return abs(process.create_time() - claim["born"]) < 1 and process.status() != psutil.STATUS_ZOMBIE  # killed, and not yet buried
    except psutil.NoSuchProcess:
        return False


def _beats(storage: Storage, path: str, claim: dict) -> bool:
    """Whether that writer gives a sign of life before it counts as dead. Its clock may not be ours: it is one when the claim changes."""
    silent = time.time() - claim["heartbeat"]
    if silent > _BEYOND:
        return False
    left = min(max(_STALE - silent, 2 * _BEAT), _STALE)
    echo(f"  {storage.uri(path)}: process {claim['pid']} on {claim['host']} wrote here; waiting up to {left:.0f} s for a sign of life")
    ends = time.monotonic() + left
    while time.monotonic() < ends:
        time.sleep(_LOOK)
        now = _read(storage, path)
        if now != claim:
            return now is not None
    return False


def _beat(storage: Storage, path: str, claim: dict, stop: threading.Event) -> None:
    while not stop.wait(_BEAT):
        try:
            if not _owns(storage, path, claim):
                return  # we were cut off for so long that another took over; parts are written whole, whoever writes them
            storage.write_bytes(path, json.dumps({**claim, "heartbeat": time.time()}).encode())
        except StorageError:
            continue  # the next beat may pass; parts report a lost store themselves
