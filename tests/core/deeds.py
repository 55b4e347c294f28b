"""What the children of the tests do; without a test framework, which a child would load for nothing."""

import ctypes
import os
import signal
import sys
import threading
import time

import psutil

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child import beat, memory_is_short, waiting

built = []
"""In a child: how often its work was built."""


def deeds():
    """The work of these tests: the first argument names what is done with the others."""
    built.append(1)
    return lambda name, *args: globals()[name](*args)


def echo(value):
    return value


def builds():
    return len(built), os.getpid()


def environment():
    return os.environ["OMP_NUM_THREADS"], getattr(sys.modules["__main__"], "__file__", None)


def fail(error):
    beat(3)
    raise error


class PickyError(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")


def fail_picky():
    raise PickyError(code=7)


def die(reached, number):
    beat(reached)
    os.kill(os.getpid(), number)
    time.sleep(60)


def leave(code):
    beat(2)
    sys.exit(code)


def stall(reached):
    for frame in range(reached + 1):
        beat(frame)
    while True:
        time.sleep(0.01)


def hang_in_c():
    """Sleep in C code that keeps Python's lock, so that no handler and no thread of this process can run."""
    beat(6)
    ctypes.PyDLL(None).sleep(600)


def say_and(name, *args):
    print(name, flush=True)
    globals()[name](*args)


def leave_later():
    """Ends this process after the call, as a success at that."""
    threading.Timer(0.1, os._exit, (0,)).start()


def keep_going(seconds, pause):
    start, frame = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        frame += 1
        beat(frame)
        time.sleep(pause)
    return frame


def read_slowly(reads, each, pause=0.0):
    """Reads from a network that take longer than the limit together, and no frame in between."""
    beat(5)
    for _ in range(reads):
        with waiting(), waiting():
            time.sleep(each)
        time.sleep(pause)
    return reads


def take(mib):
    return len(bytearray(mib << 20))


def take_slowly():
    beat(8)
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
    """Until that process is gone; it may be a zombie where its parent is not ours."""
    for _ in range(600):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} lives on")


def builds_slowly():
    beat(99)
    time.sleep(1)
    return echo


def short_before_and_after(megabytes):
    before, hoard = memory_is_short(), bytearray(megabytes << 20)
    return before, memory_is_short(), len(hoard) >> 20


def go_on():
    beat(5)
    beat()
