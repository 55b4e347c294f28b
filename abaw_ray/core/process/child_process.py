"""Code that can hang, crash or eat memory runs in a child process: from a call to its result, or to what ended it and how far it had got.

A child builds its work once and does one call after the other. It is given up when it shows no progress for a while, may have so much memory
and no more, and never outlives its parent. What a lost call means, and whether it is tried again, is left to the caller.
"""

import math
import multiprocessing.context
import pickle
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import popen_spawn_posix, spawn
from multiprocessing.sharedctypes import RawValue
from types import FunctionType, SimpleNamespace
from typing import Generic, Self, TypeVar

from pebble import ProcessPool
from pebble.common.types import RemoteTraceback

from abaw_ray.core.errors import AbawError, ConfigError
from abaw_ray.core.process import child

T = TypeVar("T")

_START = 300.0
"""Seconds that a child may take to start and build its work; they never count against a call."""
_STARTS = 3
"""Children in a row that may be lost before their call begins."""
_TICK = 0.5
"""Seconds between two looks at a child, or a tenth of its limit where that is less; a result is never held up by them."""


@dataclass(frozen=True, kw_only=True)
class ChildLimits:
    """What a child may do before it is given up. Both defaults are ours."""

    seconds: float = 120.0
    """Longest time without progress; time in ``waiting`` does not add to it, but no single wait may be longer either."""
    memory_mb: int = 2048
    """Private memory of the child (RLIMIT_DATA: its writable mappings, thread stacks too), in units of 2^20 bytes; Python alone has some 20."""

    def __post_init__(self) -> None:
        """Refuse limits under which no child could work."""
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"limits.seconds={self.seconds} must be a number above 0")
        if self.memory_mb < 64:
            raise ConfigError(f"limits.memory_mb={self.memory_mb} is less than a child needs to start; give it 64 or more")


class ChildDied(Exception):  # noqa: N818 (what happened; whether it is an error is for the caller to say)
    """The child ended, or was ended, inside a call; ``str`` is the reason, in one line.

    ``reached`` is what the call last gave to ``beat``, 0 before that. ``waiting``: it was inside ``waiting``, which is not the fault of its work.
    """

    def __init__(self, reason: str, reached: int, waiting: bool) -> None:
        super().__init__(reason, reached, waiting)
        self.reason, self.reached, self.waiting = reason, reached, waiting

    def __str__(self) -> str:
        return self.reason


class NoChildError(AbawError):
    """No child came to the point of beginning a call: the fault of the machine, the limits or ``make``, never of the call."""


class _NotBegunError(Exception):
    """A child was lost before it began its call."""


def _preparation(name: str) -> dict:
    """What a spawned process is told first, less the way to ``__main__``: a script without a main guard would run again, or Ray be loaded."""
    return {key: value for key, value in spawn.get_preparation_data(name).items() if not key.startswith("init_main")}


class _Popen(popen_spawn_posix.Popen):
    """Launches as multiprocessing does, by the same code, in which ``spawn.get_preparation_data`` is ours."""

    _spawn = SimpleNamespace(**{**vars(spawn), "get_preparation_data": _preparation})
    _launch = FunctionType(popen_spawn_posix.Popen._launch.__code__, {**vars(popen_spawn_posix), "spawn": _spawn})


class _Process(multiprocessing.context.SpawnProcess):
    _Popen = staticmethod(_Popen)


class _Context(multiprocessing.context.SpawnContext):
    """Makes a pool's processes and keeps the first; pebble starts others in the place of a dead one, which are not used."""

    first: _Process | None = None

    def Process(self, **kwargs: object) -> _Process:  # noqa: N802 (multiprocessing's name)
        process = _Process(**kwargs)
        self.first = self.first or process
        return process


class _Child:
    """One process from its start to its end, with a pool of its own: a pool that lost its worker may hold locks and tasks for ever."""

    def __init__(self, make: bytes, limits: ChildLimits) -> None:
        self.limits, self.signs, context = limits, RawValue(child.Signs), _Context()
        self.pool = ProcessPool(max_workers=1, initializer=child.settle, initargs=(self.signs, make, limits.memory_mb), context=context)
        self.starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watched")  # a child dies with the THREAD that started it
        try:
            self.starter.submit(lambda: self.pool.active).result()  # to ask is to start
        except (OSError, BrokenProcessPool) as error:
            self.end()
            raise NoChildError(f"no process can be started: {error.__cause__ or error}") from error
        self.process = context.first

    def end(self) -> None:
        self.pool.stop()
        self.pool.join()
        self.starter.shutdown()

    def run(self, args: bytes) -> bytes:
        """Do one call; whatever is raised here means that the child is to be ended."""
        self.signs.begun, started, tick = 0, time.monotonic(), min(_TICK, self.limits.seconds / 10)
        try:
            future = self.pool.schedule(child.run, args=(args,))  # bytes only: what cannot be (un)pickled on its way would break the pool
        except RuntimeError as error:  # pebble found its worker dead just now
            raise self._lost() from error
        while not wait((future,), timeout=tick).done:
            self._look(time.monotonic(), started)
            if self.process.exitcode is not None and not wait((future,), timeout=tick).done:
                raise self._lost()  # with exit code 0, which pebble does not report
        if error := future.exception():
            raise self._lost() from error
        return future.result()

    def begun(self) -> bool:
        return self.signs.begun == self.process.pid

    def _look(self, now: float, started: float) -> None:
        if not self.begun():
            if now - started > _START:
                raise NoChildError(f"a child did not start and build its work within {_START:g} s; see what keeps this machine busy")
        elif now - (self.signs.waiting or self.signs.progress) > self.limits.seconds:
            raise self._died(f"no progress for {self.limits.seconds:g} s")

    def _lost(self) -> Exception:
        code = self.process.exitcode
        signals = {-number: f"died of signal {number.value} ({number.name})" for number in signal.Signals}
        reason = f"its process {signals.get(code, 'was lost' if code is None else f'ended with exit code {code}')}"
        return self._died(reason) if self.begun() else _NotBegunError(reason)

    def _died(self, reason: str) -> ChildDied:
        return ChildDied(reason, self.signs.reached, self.signs.waiting > 0)


class ChildProcess(Generic[T]):
    """One child process that does one call after the other; it is started at the first call, and again at the next one after it was lost.

    Calls from several threads come one after the other. Arguments, results and errors are pickled.
    """

    def __init__(self, make: Callable[[], Callable[..., T]], limits: ChildLimits) -> None:
        """Take what builds the work in the child: plain pickle must find it and all it holds by name, and not in ``__main__``."""
        self.limits, self.reached = limits, 0
        """``reached``: what the last call gave to ``beat`` before it ended, however it did."""
        self._make, self._child, self._lock = pickle.dumps(make), None, threading.RLock()

    def __call__(self, *args: object) -> T:
        """Do ``work(*args)`` in the child.

        Raises:
            ChildDied: the child died inside the call, or made no progress and was ended; the next call has a new one.
            NoChildError: children end before they begin the call.
            MemoryError: the call ran into its memory limit; the next call has a new child.
            Exception: whatever ``make`` or the work raises, as itself; its cause is the traceback in the child.

        Source: ours.
        """
        packed = pickle.dumps(args, protocol=5)
        with self._lock:
            outcome = self._outcome(packed)
            try:
                return _opened(outcome)
            except MemoryError as error:
                begun = self._child.begun()
                self.close()  # what is left of its memory may be too little for the next call
                if not begun:
                    raise NoChildError(f"limits.memory_mb={self.limits.memory_mb} is too little to build the work; raise it") from error
                raise

    def _outcome(self, args: bytes) -> bytes:
        for _ in range(_STARTS):
            if self._child and self._child.process.exitcode is not None:
                self.close()  # it died between two calls
            child = self._child = self._child or _Child(self._make, self.limits)
            try:
                return child.run(args)
            except _NotBegunError as lost:
                reason = lost
                self.close()
            except BaseException:  # Ctrl-C too: the child would go on with the call
                self.close()
                raise
            finally:
                self.reached = child.signs.reached
        raise NoChildError(f"a child was lost before it had built its work, {_STARTS} times: {reason}; raise limits.memory_mb or see its output")

    @property
    def pid(self) -> int | None:
        """The child's process number; None where there is none."""
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


def _opened(outcome: bytes) -> object:
    """The value that a call returned; or raise what it raised."""
    value, raised = pickle.loads(outcome)
    if raised is None:
        return value
    packed, text = raised
    try:
        error = pickle.loads(packed)
    except Exception:  # whatever the class of that error does when it is made again
        error = RuntimeError(f"{text.strip().splitlines()[-1]} (an error that cannot be passed between processes as itself)")
    raise error from RemoteTraceback(text)
