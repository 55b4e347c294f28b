"""The side of a ``ChildProcess`` that runs in the child: it receives pickled calls, runs them and sends their pickled outcomes.

Code that may run in a child reports its progress with ``heartbeat`` and marks reads from a network with ``io_wait``. Outside a child both do
nothing. The parent's side, which starts, monitors and ends children, is ``child_process``.
"""

import ctypes
import functools
import mmap
import os
import pickle
import resource
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

MESSAGE_SIZE = struct.Struct("!Q")
"""Length prefix of each call and each outcome on the channel: its number of bytes."""
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_THRESHOLD = 32 << 20
"""Bytes: glibc maps allocations from this size on singly and returns them to the kernel when freed. 32 MiB is its maximum; a 4K frame has 12 MB."""
_TRIM_THRESHOLD = 256 << 20
"""Bytes of freed memory that a process keeps for reuse: slightly more than two seconds of 1080p frames."""
_SHORT_ABOVE = 7 / 8
"""Fraction of the memory limit above which memory is short: at a limit of 2 GiB, less than two 8K frames of 10 bits fit into the rest."""


class SharedStatus(ctypes.Structure):
    """Status of a call, in memory that parent and child share. Times are those of ``time.monotonic``, one clock for all processes."""

    _fields_ = (
        ("call_started", ctypes.c_int64),  # 1 once the work is built and the call runs
        ("progress", ctypes.c_int64),  # last value that the call passed to heartbeat
        ("heartbeat_at", ctypes.c_double),
        ("io_wait_since", ctypes.c_double),  # 0 outside io_wait
    )


_status: SharedStatus | None = None  # set in a child only


def map_status(file: int) -> SharedStatus:
    """The status in the file of this descriptor, mapped into this process."""
    return SharedStatus.from_buffer(mmap.mmap(file, ctypes.sizeof(SharedStatus)))


def heartbeat(progress: int | None = None) -> None:
    """Report progress of the call; cheap enough for every frame of a video. ``progress`` is a count for the caller; None keeps the last one."""
    if _status is not None:
        _status.progress, _status.heartbeat_at = _status.progress if progress is None else progress, time.monotonic()


def memory_is_short() -> bool:
    """Whether this process is close to its limit of private memory: an error of a library may then be a lack of memory."""
    allowed = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if allowed == resource.RLIM_INFINITY:
        return False
    with open("/proc/self/status") as status:
        used = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
    return used > _SHORT_ABOVE * allowed


@contextmanager
def io_wait() -> Iterator[None]:
    """Mark a wait for something outside this machine (a read from a network); its time does not count as time without progress."""
    if _status is None or _status.io_wait_since:
        yield
        return
    entered = _status.io_wait_since = time.monotonic()
    try:
        yield
    finally:
        left = time.monotonic()
        _status.heartbeat_at = min(_status.heartbeat_at + left - entered, left)
        _status.io_wait_since = 0.0


def main(channel_file: int, status_file: int) -> None:
    """Run calls until the parent closes the channel.

    Args:
        channel_file: File descriptor of a socket. The first message is a pickled tuple: the parent's process id, the limit of private
            memory in units of 2^20 bytes, and the pickled function that builds the work. Calls and outcomes follow, each after ``MESSAGE_SIZE``.
        status_file: File descriptor of the ``SharedStatus``.

    Raises:
        OSError: the process cannot be bound to its parent, or its limits cannot be set.
    """
    global _status
    for file in (channel_file, status_file):
        os.set_inheritable(file, False)  # a process that the work starts must not keep the channel open
    channel = socket.socket(fileno=channel_file).makefile("rwb")
    parent, memory_mb, make = pickle.load(channel)
    _bind_to_parent(parent)
    _limit_memory(memory_mb)
    tune_process()
    _status = status = map_status(status_file)
    build = functools.cache(lambda: pickle.loads(make)())
    while header := channel.read(MESSAGE_SIZE.size):
        outcome = _run(build, status, channel.read(*MESSAGE_SIZE.unpack(header)))
        channel.write(MESSAGE_SIZE.pack(len(outcome)))
        channel.write(outcome)
        channel.flush()


def _bind_to_parent(parent: int) -> None:
    """End this process when its parent's thread ends, and leave Ctrl-C to the parent."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: this process cannot be bound to its parent")
    if os.getppid() != parent:
        os._exit(1)  # the parent ended before prctl
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would not run while C code hangs


def _limit_memory(memory_mb: int) -> None:
    """Limit private memory, and write no core dump."""
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = memory_mb << 20 if hard == resource.RLIM_INFINITY else min(memory_mb << 20, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def tune_process() -> None:
    """Set up a process for heavy work in one thread; call it before importing libraries that read these settings.

    A decoder frees all its frames at the end of a video. glibc would return that memory to the kernel; getting it back for the next video,
    page by page, costs up to a tenth of decoding it.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own pool reserves a gigabyte, which would count against the limit
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def _run(build: Callable[[], Callable], status: SharedStatus, args: bytes) -> bytes:
    """The outcome of one call.

    Args:
        build: Returns the work; built at the first call.
        status: Set up for this call once the work is built.
        args: The pickled tuple of the call's arguments.

    Returns:
        A pickled pair: the result and None; or None and the exception, as a pair of the pickled exception (empty where it cannot be pickled)
        and the text of its traceback.
    """
    try:
        work = build()
        status.progress, status.heartbeat_at, status.io_wait_since, status.call_started = 0, time.monotonic(), 0.0, 1
        return pickle.dumps((work(*pickle.loads(args)), None), protocol=5)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else bool(end.code))
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # frees local variables: after a MemoryError, pickling the error needs memory
        text, packed = traceback.format_exc(), b""
        with suppress(Exception):
            packed = pickle.dumps(error)
        return pickle.dumps((None, (packed, text)))
