"""Calls that the tests run in child processes. Imports no test framework, which every child would load."""

import ctypes
import os
import signal
import sys
import threading
import time

import psutil

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child import heartbeat, io_wait, memory_is_short

built = []
"""One entry for each time that this child has built its work."""


def build_calls():
    """Build the work of these tests: its first argument names a function of this module, which gets the other arguments."""
    built.append(1)
    return lambda name, *args: globals()[name](*args)


def echo(value):
    return value


def builds():
    return len(built), os.getpid()


def environment():
    return os.environ["OMP_NUM_THREADS"], getattr(sys.modules["__main__"], "__file__", None)


def fail(error):
    heartbeat(3)
    raise error


class KeywordOnlyError(Exception):
    """An error that can be pickled but not unpickled."""

    def __init__(self, *, code):
        super().__init__(f"code {code}")


def fail_with_keyword_only_error():
    raise KeywordOnlyError(code=7)


def die(reached, number):
    heartbeat(reached)
    os.kill(os.getpid(), number)
    time.sleep(60)


def import_path():
    return sys.path


def fork_and_die():
    """Crash while a forked process still holds the channel."""
    if not os.fork():
        time.sleep(5)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGSEGV)


def exit_with(code):
    heartbeat(2)
    sys.exit(code)


def stall(reached):
    for frame in range(reached + 1):
        heartbeat(frame)
    while True:
        time.sleep(0.01)


def hang_in_c():
    """Sleep in C code that holds the GIL, so that no signal handler and no other thread of this process can run."""
    heartbeat(6)
    ctypes.PyDLL(None).sleep(600)


def print_then(name, *args):
    print(name, flush=True)
    globals()[name](*args)


def exit_later():
    """Exit with code 0 soon after the call."""
    threading.Timer(0.1, os._exit, (0,)).start()


def keep_going(seconds, pause):
    start, frame = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        frame += 1
        heartbeat(frame)
        time.sleep(pause)
    return frame


def read_slowly(reads, each, pause=0.0):
    """Slow reads that together take longer than the limit, without progress in between."""
    heartbeat(5)
    for _ in range(reads):
        with io_wait(), io_wait():
            time.sleep(each)
        time.sleep(pause)
    return reads


def allocate(mib):
    return len(bytearray(mib << 20))


def allocate_slowly():
    heartbeat(8)
    held = []
    while True:
        held.append(bytes(1000))


def unpicklable():
    return lambda: None


def fails_to_build():
    raise ConfigError("detector.file=x is not there")


def dies_while_building():
    os.kill(os.getpid(), signal.SIGSEGV)


def needs_much_memory():
    bytearray(4 << 30)
    return echo


def wait_for_end(pid):
    """Wait until a process has ended; it may stay a zombie if this process is not its parent."""
    for _ in range(600):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} still runs")


def builds_slowly():
    heartbeat(99)
    time.sleep(1)
    return echo


def short_before_and_after(megabytes):
    before, buffer = memory_is_short(), bytearray(megabytes << 20)
    return before, memory_is_short(), len(buffer) >> 20


def beat_with_and_without_count():
    heartbeat(5)
    heartbeat()
