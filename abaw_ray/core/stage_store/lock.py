"""A lock file that allows one writer for each stage folder: a second run on the same results is refused, a dead writer's lock is taken over.

The lock is a small file in the folder; its owner renews it until it ends. A run that finds its lock taken over, as after it was disconnected for
minutes, stops. For a writer on this machine, the process table shows whether it is alive. The lock of a writer on another machine is monitored until
it is renewed or expires. Outputs are written atomically anyway, so even two writers cannot leave a half-written result.
"""

import os
import signal
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
from abaw_ray.core.stage_store.lock_file import LockFile, Version, lock_file
from abaw_ray.core.storage.storage import Storage

_HEARTBEAT_INTERVAL = 20.0
"""Seconds between two renewals."""
_STALE_AFTER = 6 * _HEARTBEAT_INTERVAL
"""Seconds without a renewal after which a writer on another machine counts as dead."""
_EXPIRED_AFTER = 3600.0
"""Seconds since a renewal after which the lock counts as abandoned: clocks of two machines do not differ by so much."""
_POLL_INTERVAL = 2.0
"""Seconds between two reads of the lock of such a writer."""
_INTERRUPT_INTERVAL = 180.0
"""Seconds after which a run that has lost its lock and goes on is interrupted again. Longer than the start of training ranks, during which Ray Train
answers no interrupt and would take the third one as a request to end at once. Ours."""
_UNKNOWN_WRITER = {"pid": "of another run", "host": "another machine"}
"""Claim in messages about a writer whose file is empty or gone by the time it is read."""


@contextmanager
def writer_lock(storage: Storage, folder: str) -> Iterator[None]:
    """Hold the lock of a folder while the block runs. If a writer on another machine has the lock, wait up to two minutes for its renewal.

    Args:
        storage: The storage of the folder.
        folder: Its path below the storage root.

    Raises:
        BusyError: another live run holds the lock, or has taken it over while the block ran; the message names its machine and process.
    """
    lock = _WriterLock(lock_file(storage, f"{folder}/writer.json"))
    lock.acquire()
    try:
        with lock.renewed():
            yield
    except KeyboardInterrupt:
        if lock.lost_to:
            raise lock.lost_error() from None
        raise
    if lock.lost_to:
        raise lock.lost_error()


class _WriterLock:
    def __init__(self, file: LockFile) -> None:
        self.file, self.claim = file, _claim()
        self.lost_to: dict | None = None
        """The claim of a run that has taken the lock over; empty where it has ended since."""
        self._version: Version | None = None
        self._stop, self._ending = threading.Event(), threading.Lock()

    def acquire(self) -> None:
        """Write the claim, unless a live run holds the lock."""
        other, version = self.file.read()
        if other and _is_alive(self.file, other):
            raise self._busy(other)
        if other:  # the claim of a dead run, or one that has ended while it was awaited
            current, version = self.file.read()
            if current and current != other:
                raise self._busy(current)
        if not self._write(self.claim, version):
            raise self._busy(self.file.read()[0] or _UNKNOWN_WRITER)

    def _write(self, claim: dict, version: Version | None) -> bool:
        """Write a claim of this run over the file of this version, or over one of its own: a write whose error was reported may have arrived."""
        self._version = self.file.write(claim, version)
        if self._version is None:
            current, version = self.file.read()
            if current and current["owner"] == self.claim["owner"]:
                self._version = self.file.write(claim, version)
        return self._version is not None

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew the lock while the block runs, then release it. Where it is lost, the main thread is interrupted if the block runs there; in a
        process that ignores interrupts, and in another thread, the block ends first.
        """
        main = threading.get_ident() if threading.current_thread() is threading.main_thread() else None
        renewal = threading.Thread(target=self._renew, args=(main,), daemon=True)
        renewal.start()
        try:
            yield
        finally:
            try:
                with self._ending:  # no interrupt from here on
                    self._stop.set()
            finally:
                self._stop.set()  # where one arrived just now
            renewal.join(timeout=5)
            if not self.lost_to and self._version is not None:
                self.file.release(self._version)

    def _renew(self, main: int | None) -> None:
        while not self._stop.wait(_HEARTBEAT_INTERVAL):
            version = self._version
            try:
                if self._write({**self.claim, "heartbeat": time.time()}, version):
                    continue
                self.lost_to = self.file.read()[0] or _UNKNOWN_WRITER
            except StorageError:
                self._version = version  # the next renewal may succeed; if the store is lost, writing an output raises the error
                continue
            self._interrupt(main)
            return

    def _interrupt(self, main: int | None) -> None:
        """Interrupt the main thread, again and again until the block has ended: libraries may take an interrupt for one of their own."""
        while main:
            with self._ending:
                if self._stop.is_set():
                    return
                signal.pthread_kill(main, signal.SIGINT)  # also ends a wait in the middle
            if self._stop.wait(_INTERRUPT_INTERVAL):
                return

    def _busy(self, other: dict) -> BusyError:
        return BusyError(
            f"{self.file.storage.uri(self.file.path)}: process {other['pid']} on {other['host']} is writing here; wait for it, "
            "or delete this file if that machine is gone for good"
        )

    def lost_error(self) -> BusyError:
        """The error of a run that was not seen for so long that another one continues its work."""
        other = self.lost_to or {}
        return BusyError(
            f"{self.file.storage.uri(self.file.path)}: process {other['pid']} on {other['host']} has taken over, because this run was not seen for "
            f"{_STALE_AFTER:.0f} s; finished items are kept, and that run continues with them"
        )


def _claim() -> dict:
    process = psutil.Process()
    details = {"host": socket.gethostname(), "machine": _machine(), "pid": process.pid, "started": process.create_time()}
    return {"owner": uuid.uuid4().hex, **details, "heartbeat": time.time()}


def _machine() -> str:
    """Id of the PID namespace, in which process ids are unique: several machines, and containers of one machine, may share a host name."""
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"


def _is_alive(file: LockFile, claim: dict) -> bool:
    return _process_is_alive(claim) if claim.get("machine") == _machine() else _is_renewed(file, claim)


def _process_is_alive(claim: dict) -> bool:
    if claim["pid"] == os.getpid():
        return True
    try:
        process = psutil.Process(claim["pid"])
        return abs(process.create_time() - claim["started"]) < 1 and process.status() != psutil.STATUS_ZOMBIE  # a zombie has ended
    except psutil.NoSuchProcess:
        return False


def _is_renewed(file: LockFile, claim: dict) -> bool:
    """Whether the writer renews its lock within the waiting time. Its clock may differ from this machine's: any change of the file is a renewal."""
    age = time.time() - claim["heartbeat"]
    if age > _EXPIRED_AFTER:
        return False
    timeout = min(max(_STALE_AFTER - age, 2 * _HEARTBEAT_INTERVAL), _STALE_AFTER)
    uri = file.storage.uri(file.path)
    echo(f"  {uri}: process {claim['pid']} on {claim['host']} wrote here; waiting up to {timeout:.0f} s for its heartbeat")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL)
        current, _ = file.read()
        if current != claim:
            return current is not None
    return False
