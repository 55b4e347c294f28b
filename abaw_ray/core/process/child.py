"""The inside of a watched child process: bytes of one call in, bytes of its outcome out, and signs of life in between.

Work that may run in a child says how far it has got with ``beat`` and marks its reads from a network with ``waiting``; elsewhere both do
nothing. Starting, watching and ending children is left to ``watched``.
"""

import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OWN_MAPPING = 32 << 20
"""Bytes: from this size on a piece of memory comes from the kernel and goes back to it at once; glibc allows no more. A 4K picture has 12."""
_KEPT = 256 << 20
"""Bytes of memory given back that a process keeps for what comes next: two seconds of 1080p pictures, and a little."""
_NEARLY = 7 / 8
"""Of the memory allowed: at the limit of 2 GiB the rest is less than two pictures of 8K with 10 bits."""


class Signs(ctypes.Structure):
    """What a child tells its parent, in memory that both see. Times are those of ``time.monotonic``, one clock for all processes."""

    _fields_ = (("begun", ctypes.c_int64), ("reached", ctypes.c_int64), ("progress", ctypes.c_double), ("waiting", ctypes.c_double))


_signs: Signs | None = None  # these three: in a child only, from ``settle`` on
_make: bytes | None = None
_work: Callable | None = None


def beat(reached: int | None = None) -> None:
    """Say that the call goes on, and how far it has got (None: as far as before); cheap enough for every frame of a video."""
    if _signs is not None:
        _signs.reached, _signs.progress = _signs.reached if reached is None else reached, time.monotonic()


def memory_is_short() -> bool:
    """Whether this process has taken nearly all private memory that it may: then a library that fails may have failed for want of it."""
    allowed = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if allowed == resource.RLIM_INFINITY:
        return False
    with open("/proc/self/status") as status:
        taken = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
    return taken > _NEARLY * allowed


@contextmanager
def waiting() -> Iterator[None]:
    """Mark a wait for something outside this machine (a read from a network): the clock of the work stands still meanwhile."""
    if _signs is None or _signs.waiting:
        yield
        return
    entered = _signs.waiting = time.monotonic()
    try:
        yield
    finally:
        left = time.monotonic()
        _signs.progress = min(_signs.progress + left - entered, left)
        _signs.waiting = 0.0


def settle(signs: Signs, make: bytes, memory_mb: int) -> None:
    """Make this process a child: it dies with its parent, leaves Ctrl-C to it and keeps within its memory.

    Args:
        signs: Shared with the parent.
        make: Pickled; builds the work at the first call.
        memory_mb: Private memory, in units of 2^20 bytes.

    Raises:
        OSError: the process cannot be bound to its parent, or its limits cannot be set.
    """
    global _signs, _make
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: this process cannot be bound to its parent")
    if os.getppid() != multiprocessing.parent_process().pid:
        os._exit(1)  # the parent died before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a handler in Python would wait for the C code that hangs
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    allowed = memory_mb << 20 if hard == resource.RLIM_INFINITY else min(memory_mb << 20, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepare()
    _signs, _make = signs, make


def prepare() -> None:
    """Settings of a process that does heavy work in one thread: before anything that reads them is imported.

    Decoders give back all their pictures at a video's end. glibc would give that memory back to the kernel, and to have it again for the next
    video, page by page, costs up to a tenth of decoding it.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # Arrow's own takes a gigabyte in advance, and all of it would count
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING)
        ctypes.CDLL(None).mallopt(_M_TRIM_THRESHOLD, _KEPT)


def run(args: bytes) -> bytes:
    """Do one call.

    Args:
        args: The pickled tuple of its arguments.

    Returns:
        A pickled pair: its result and None; or None and what was raised, as a pair of the pickled error (empty where it cannot be) and the
        text of its traceback.
    """
    global _work
    try:
        if _work is None:
            _work = pickle.loads(_make)()
        _signs.reached, _signs.progress, _signs.waiting, _signs.begun = 0, time.monotonic(), 0.0, os.getpid()
        return pickle.dumps((_work(*pickle.loads(args)), None), protocol=5)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else bool(end.code))
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # gives back what they hold: after a MemoryError there is room for the rest
        text, packed = traceback.format_exc(), b""
        with suppress(Exception):
            packed = pickle.dumps(error)
        return pickle.dumps((None, (packed, text)))
