"""A lock file that allows one writer for each stage folder: a second run on the same results is refused, a dead writer's lock is taken over.

The lock is a small file in the folder; its owner renews it until it ends. It guards against two people who start the same command. Outputs are
written atomically anyway, so even two writers cannot leave a half-written result. A writer on this machine is looked up among its processes. A
writer on another machine, which may be gone, is monitored until it renews its lock or has not renewed it for too long. A writer that lost its
connection and returns leaves the lock of its successor alone.
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

_HEARTBEAT_INTERVAL = 20.0
"""Seconds between two renewals."""
_STALE_AFTER = 6 * _HEARTBEAT_INTERVAL
"""Seconds without a renewal after which a writer on another machine counts as dead."""
_EXPIRED_AFTER = 3600.0
"""Seconds since a renewal after which the lock counts as abandoned: no two clocks differ by so much."""
_POLL_INTERVAL = 2.0
"""Seconds between two reads of the lock of such a writer."""
_CONFIRM_DELAY = 0.2
"""Seconds until a new lock is read again: of two writers that lock at the same time, only the last one finds its own name."""


@contextmanager
def writer_lock(storage: Storage, folder: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs. Waits up to two minutes for a renewal where a writer on another machine may be gone.

    Args:
        storage: The storage of the folder.
        folder: Its path below the storage root.

    Raises:
        BusyError: another run that is still alive holds the lock; the message names its machine and process.
    """
    path, claim = f"{folder}/writer.json", _claim()
    if (other := _read(storage, path)) and _is_alive(storage, path, other):
        raise _busy(storage, path, other)
    storage.write_bytes(path, json.dumps(claim).encode())
    time.sleep(_CONFIRM_DELAY)
    if (other := _read(storage, path)) and other["owner"] != claim["owner"]:
        raise _busy(storage, path, other)
    stop = threading.Event()
    renewal = threading.Thread(target=_renew, args=(storage, path, claim, stop), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        stop.set()
        renewal.join(timeout=5)
        if _owns(storage, path, claim):
            storage.delete(path)


def _claim() -> dict:
    process = psutil.Process()
    here = {"host": socket.gethostname(), "machine": _machine(), "pid": process.pid, "started": process.create_time()}
    return {"owner": uuid.uuid4().hex, **here, "heartbeat": time.time()}


def _machine() -> str:
    """Identifies the set of processes in which a process id is unique: several machines, and containers of one, may share a host name."""
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


def _is_alive(storage: Storage, path: str, claim: dict) -> bool:
    return _process_is_alive(claim) if claim.get("machine") == _machine() else _is_renewed(storage, path, claim)


def _process_is_alive(claim: dict) -> bool:
    if claim["pid"] == os.getpid():
        return True
    try:
        process = psutil.Process(claim["pid"])
        return abs(process.create_time() - claim["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE  # a zombie is dead
    except psutil.NoSuchProcess:
        return False


def _is_renewed(storage: Storage, path: str, claim: dict) -> bool:
    """Whether that writer renews its lock before it counts as dead. Its clock may differ from ours, so any change of the lock is a renewal."""
    silent = time.time() - claim["heartbeat"]
    if silent > _EXPIRED_AFTER:
        return False
    left = min(max(_STALE_AFTER - silent, 2 * _HEARTBEAT_INTERVAL), _STALE_AFTER)
    echo(f"  {storage.uri(path)}: process {claim['pid']} on {claim['host']} wrote here; waiting up to {left:.0f} s for its heartbeat")
    ends = time.monotonic() + left
    while time.monotonic() < ends:
        time.sleep(_POLL_INTERVAL)
        now = _read(storage, path)
        if now != claim:
            return now is not None
    return False


def _renew(storage: Storage, path: str, claim: dict, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT_INTERVAL):
        try:
            if not _owns(storage, path, claim):
                return  # this writer was offline for so long that another one took over; outputs are atomic, whichever writer wrote them
            storage.write_bytes(path, json.dumps({**claim, "heartbeat": time.time()}).encode())
        except StorageError:
            continue  # the next renewal may succeed; outputs report a lost store themselves
