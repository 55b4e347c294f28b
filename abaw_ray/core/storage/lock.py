"""A lock file that allows one writer for each stage folder: a second run on the same results is refused, a dead writer's lock is taken over.

The lock is a small file in the folder; its owner renews it until it ends. It guards against two people who start the same command. Outputs are
written atomically anyway, so even two writers cannot leave a half-written result. For a writer on this machine, the process
table shows whether it is alive. The lock of a writer on another machine is monitored until it is renewed or expires. A writer that was
disconnected and returns does not touch the lock of its successor.
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
"""Seconds since a renewal after which the lock counts as abandoned: clocks of two machines do not differ by so much."""
_POLL_INTERVAL = 2.0
"""Seconds between two reads of the lock of such a writer."""
_CONFIRM_DELAY = 0.2
"""Seconds until a new lock is read again: of two writers that lock at the same time, only the last one reads its own id."""


@contextmanager
def writer_lock(storage: Storage, folder: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs. If a writer on another machine has the lock, wait up to two minutes for its renewal.

    Args:
        storage: The storage of the folder.
        folder: Its path below the storage root.

    Raises:
        BusyError: another live run holds the lock; the message names its machine and process.
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
    details = {"host": socket.gethostname(), "machine": _machine(), "pid": process.pid, "started": process.create_time()}
    return {"owner": uuid.uuid4().hex, **details, "heartbeat": time.time()}


def _machine() -> str:
    """Id of the PID namespace, in which process ids are unique: several machines, and containers of one machine, may share a host name."""
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
        return abs(process.create_time() - claim["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE  # a zombie has ended
    except psutil.NoSuchProcess:
        return False


def _is_renewed(storage: Storage, path: str, claim: dict) -> bool:
    """Whether the writer renews its lock within the waiting time. Its clock may differ from this machine's: any change of the file is a renewal."""
    age = time.time() - claim["heartbeat"]
    if age > _EXPIRED_AFTER:
        return False
    timeout = min(max(_STALE_AFTER - age, 2 * _HEARTBEAT_INTERVAL), _STALE_AFTER)
    echo(f"  {storage.uri(path)}: process {claim['pid']} on {claim['host']} wrote here; waiting up to {timeout:.0f} s for its heartbeat")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL)
        current = _read(storage, path)
        if current != claim:
            return current is not None
    return False


def _renew(storage: Storage, path: str, claim: dict, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT_INTERVAL):
        try:
            if not _owns(storage, path, claim):
                return  # another writer took over while this one was offline; both write outputs atomically
            storage.write_bytes(path, json.dumps({**claim, "heartbeat": time.time()}).encode())
        except StorageError:
            continue  # the next renewal may succeed; if the store is lost, writing an output raises the error
