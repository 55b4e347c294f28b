"""Runs code that can hang, crash or use too much memory in a child process: call -> result, or why the child ended, and the call's progress.

A child builds its work once and runs one call after another. It is killed when a call makes no progress for a while, its memory is limited, and
it never outlives its parent. The caller determines how a lost call is handled and whether it is retried.
"""

import ctypes
import logging
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from abaw_ray.core.errors import AbawError, ConfigError
from abaw_ray.core.process import child
from abaw_ray.core.process.channel import receive, send

T = TypeVar("T")

_START_TIMEOUT = 300.0
"""Seconds that a child may take to start and build its work; they never count against a call."""
_MAX_STARTS = 3
"""Children in a row that may be lost before their call starts."""
_CHECK_INTERVAL = 0.5
"""Seconds between two checks of a child, or a tenth of its limit where that is less. A result does not wait for a check."""
_END_TIMEOUT = 10.0
"""Seconds to wait for the end of a killed process: a process that is blocked on a broken disk may not end."""
_PROGRAM = "import sys; sys.path[:] = sys.argv[3:]; from abaw_ray.core.process.child import main; main(int(sys.argv[1]), int(sys.argv[2]))"
"""The child's program. It imports what its parent can import, but not the parent's ``__main__``: a script without a main guard would run again."""


@dataclass(frozen=True, kw_only=True)
class ChildLimits:
    """Limits of a child process. Both defaults are ours."""

    seconds: float = 120.0
    """Longest time without progress; time in ``io_wait`` does not count, but a single wait may not be longer either."""
    memory_mb: int = 2048
    """Private memory of the child (RLIMIT_DATA: writable mappings including thread stacks), in units of 2^20 bytes; Python alone uses about 20."""

    def __post_init__(self) -> None:
        """Refuse limits under which no child could work."""
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"limits.seconds={self.seconds} must be a number above 0")
        if self.memory_mb < 64:
            raise ConfigError(f"limits.memory_mb={self.memory_mb} is less than a child needs to start; give it 64 or more")


class ChildDied(Exception):  # noqa: N818 (an event; the caller decides whether it is an error)
    """The child ended, or was killed, during a call; ``str`` is the reason, in one line.

    ``progress``: last value that the call passed to ``heartbeat``, 0 before the first. ``in_io_wait``: the call was inside ``io_wait``, so the
    work is not the cause.
    """

    def __init__(self, reason: str, progress: int, in_io_wait: bool) -> None:
        super().__init__(reason, progress, in_io_wait)
        self.reason, self.progress, self.in_io_wait = reason, progress, in_io_wait

    def __str__(self) -> str:
        return self.reason


class NoChildError(AbawError):
    """No child started a call; the cause is the machine, the limits or ``make``, never the call."""


class _NotStartedError(Exception):
    """A child was lost before it started its call."""


class ChildTracebackError(Exception):
    """The traceback of an error in the child, as text: the cause of the same error in the parent."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Child:
    """One process from its start to its end, with a channel for calls and outcomes.

    Its starter is a thread that exists as long as the process: PR_SET_PDEATHSIG ends a process when the THREAD that started it ends.
    """

    def __init__(self, make: bytes, limits: ChildLimits) -> None:
        self.limits, (self.channel, theirs) = limits, socket.socketpair()
        starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-starter")
        with theirs, os.fdopen(os.memfd_create("abaw-child-status"), "wb") as file:
            file.truncate(ctypes.sizeof(child.SharedStatus))
            self.status = child.map_status(file.fileno())
            try:
                self.process = starter.submit(_start, theirs.fileno(), file.fileno()).result()
            except OSError as error:
                self.channel.close()
                starter.shutdown()
                raise NoChildError(f"no process can be started: {error}") from error
        self.end = weakref.finalize(self, _end, self.process, self.channel, starter)
        self.end.atexit = False  # when Python exits, the starter ends, and the process with it
        self.channel.settimeout(min(_CHECK_INTERVAL, limits.seconds / 10))
        self.to_send = pickle.dumps((os.getpid(), limits.memory_mb, make))

    def run(self, args: bytes) -> bytearray:
        """Run one call; after any exception, the caller must end the child."""
        self.status.call_started, self.sent_at = 0, time.monotonic()
        try:
            send(self.channel, self.to_send + child.MESSAGE_SIZE.pack(len(args)), self._has_ended)
            self.to_send = b""
            send(self.channel, args, self._has_ended)
            (size,) = child.MESSAGE_SIZE.unpack(receive(self.channel, child.MESSAGE_SIZE.size, self._has_ended))
            return receive(self.channel, size, self._has_ended)
        except ConnectionError:
            raise self._lost() from None

    def _has_ended(self) -> bool:
        """Whether the process has ended; raises an exception if it makes no progress."""
        now = time.monotonic()
        if not self.status.call_started:
            if now - self.sent_at > _START_TIMEOUT:
                raise NoChildError(f"a child did not start and build its work within {_START_TIMEOUT:g} s; this machine is overloaded")
        elif now - (self.status.io_wait_since or self.status.heartbeat_at) > self.limits.seconds:
            raise self._died(f"no progress for {self.limits.seconds:g} s")
        return self.process.poll() is not None

    def _lost(self) -> Exception:
        try:
            code = self.process.wait(_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            return self._died("its process closed its channel")
        signals = {-number: f"was killed by signal {number.value} ({number.name})" for number in signal.Signals}
        return self._died(f"its process {signals.get(code, f'ended with exit code {code}')}")

    def _died(self, reason: str) -> Exception:
        if not self.status.call_started:
            return _NotStartedError(reason)
        return ChildDied(reason, self.status.progress, self.status.io_wait_since > 0)


def _start(channel: int, status: int) -> subprocess.Popen:
    command = [sys.executable, "-c", _PROGRAM, str(channel), str(status), *map(str, sys.path)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(channel, status))


def _end(process: subprocess.Popen, channel: socket.socket, starter: ThreadPoolExecutor) -> None:
    """Kill the process, in a call or not, and free its resources."""
    process.kill()
    try:
        process.wait(_END_TIMEOUT)
    except subprocess.TimeoutExpired:
        logging.warning("child process %d does not end %g s after it was killed", process.pid, _END_TIMEOUT)
    channel.close()
    starter.shutdown()


class ChildProcess(Generic[T]):
    """A child process that runs one call after another; it starts at the first call, and again at the next call after it was lost.

    Calls from several threads run one after another. Arguments, results and errors are pickled.
    """

    def __init__(self, make: Callable[[], Callable[..., T]], limits: ChildLimits) -> None:
        """``make`` builds the work in the child. It and its arguments must be picklable, and must not be defined in ``__main__``."""
        self.limits, self.progress = limits, 0
        """``progress``: last value that the last call passed to ``heartbeat``, also where the call failed."""
        self._make, self._child, self._lock = pickle.dumps(make), None, threading.RLock()

    def __call__(self, *args: object) -> T:
        """Run ``work(*args)`` in the child.

        Raises:
            ChildDied: the child died during the call, or made no progress and was killed; the next call gets a new one.
            NoChildError: the children end before they start the call.
            MemoryError: the call reached the memory limit; the next call gets a new child.
            Exception: any exception of ``make`` or of the work, unchanged; its ``__cause__`` has the traceback from the child.

        Source: ours.
        """
        packed = pickle.dumps(args, protocol=5)
        with self._lock:
            outcome = self._outcome(packed)
            try:
                return _unpack(outcome)
            except MemoryError as error:
                started = self._child is not None and self._child.status.call_started
                self.close()  # its remaining memory may be too little for the next call
                if not started:
                    raise NoChildError(f"limits.memory_mb={self.limits.memory_mb} is too little to build the work; raise it") from error
                raise

    def _outcome(self, args: bytes) -> bytearray:
        reason: Exception | None = None
        for _ in range(_MAX_STARTS):
            if self._child and self._child.process.poll() is not None:
                self.close()  # it died between two calls
            child = self._child = self._child or _Child(self._make, self.limits)
            try:
                return child.run(args)
            except _NotStartedError as lost:
                reason = lost
                self.close()
            except BaseException:  # Ctrl-C too: otherwise the child would continue the call
                self.close()
                raise
            finally:
                self.progress = child.status.progress
        raise NoChildError(f"a child was lost before it had built its work, {_MAX_STARTS} times: {reason}; raise limits.memory_mb or see its output")

    @property
    def pid(self) -> int | None:
        """The child's process id; None where there is no child."""
        return self._child.process.pid if self._child else None

    def close(self) -> None:
        """End the child, after the call in progress if there is one; a later call starts another."""
        with self._lock:
            if self._child:
                self._child.end()
                self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _unpack(outcome: bytearray) -> Any:
    """The value that a call returned.

    Raises:
        Exception: the one that the call raised.
    """
    value, raised = pickle.loads(outcome)
    if raised is None:
        return value
    packed, text = raised
    try:
        error = pickle.loads(packed)
    except Exception:  # its class cannot be built from its args
        error = RuntimeError(f"{text.strip().splitlines()[-1]} (the original error cannot be pickled)")
    raise error from ChildTracebackError(text)
