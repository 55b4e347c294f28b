import ctypes
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path

import psutil
import pytest

from abaw_ray.core.child import beat, waiting
from abaw_ray.core.errors import ConfigError, ItemError
from abaw_ray.core.watched import ChildDied, Limits, NoChildError, Watched

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


def left_behind():
    """Processes and threads of this one, but for what Python itself keeps."""
    tracker = resource_tracker._resource_tracker._pid
    mine = [process.pid for process in psutil.Process().children(recursive=True) if process.pid != tracker]
    return mine, threading.active_count()


def wait_for_end(pid):
    """Until that process is gone; it may be a zombie where its parent is not ours."""
    for _ in range(600):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} lives on")


@pytest.fixture(scope="module")
def watched():
    with Watched(deeds, Limits()) as shared:
        yield shared


@pytest.fixture(scope="module")
def one_hasty():
    with Watched(deeds, Limits(seconds=1)) as shared:
        yield shared


@pytest.fixture
def hasty(one_hasty):
    """One that gives up soon, with a child."""
    one_hasty("echo", 0)
    return one_hasty


def test_results_come_back_and_the_work_is_built_once(watched):
    first = watched("builds")
    assert watched("echo", {"a": [1.5, None]}) == {"a": [1.5, None]}
    assert watched("builds") == first == (1, watched.pid)


@pytest.mark.parametrize(
    ("error", "fields"), [(ItemError("cut off", last_frame=7), {"last_frame": 7}), (ConfigError("x"), {}), (TimeoutError(5, "slow"), {"errno": 5})]
)
def test_what_the_work_raises_comes_out_as_itself_with_its_fields_and_its_traceback(watched, error, fields):
    with pytest.raises(type(error)) as found:
        watched("fail", error)
    assert str(found.value) == str(error) and {name: getattr(found.value, name) for name in fields} == fields
    assert "in fail" in str(found.value.__cause__)


def test_what_cannot_pass_between_processes_is_told_and_breaks_nothing(watched):
    pid = watched.pid
    with pytest.raises(RuntimeError, match="PickyError: code 7"):
        watched("fail_picky")
    with pytest.raises(AttributeError, match="lambda"):
        watched("unpicklable")
    with pytest.raises(AttributeError, match="lambda"):
        watched("echo", lambda: None)
    assert watched("echo", 1) == 1 and watched.pid == pid


def test_what_cannot_be_built_comes_out_as_itself_each_time():
    with Watched(fails_to_build, Limits()) as watched:
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"detector\.file=x"):
                watched()


@pytest.mark.parametrize(
    ("deed", "reason", "reached"),
    [
        (("die", 41, signal.SIGSEGV), "its process died of signal 11 (SIGSEGV)", 41),
        (("die", 0, signal.SIGKILL), "its process died of signal 9 (SIGKILL)", 0),
        (("leave", 3), "its process ended with exit code 3", 2),
        (("leave", 0), "its process ended with exit code 0", 2),
        (("stall", 12), "no progress for 1 s", 12),
        (("hang_in_c",), "no progress for 1 s", 6),
    ],
)
def test_a_child_that_dies_or_stalls_is_told_with_how_far_it_got_and_the_next_call_works(hasty, deed, reason, reached):
    pid = hasty.pid
    with pytest.raises(ChildDied) as died:
        hasty(*deed)
    assert (str(died.value), died.value.reached, died.value.waiting) == (reason, reached, False)
    assert not psutil.pid_exists(pid) and hasty.pid is None
    assert hasty("echo", 5) == 5
    with pytest.raises(ChildDied) as died:
        hasty("die", 1, signal.SIGABRT)
    assert died.value.reached == 1


def test_a_slow_call_that_shows_progress_is_left_alone(hasty):
    assert hasty("keep_going", 2, 0.05) > 3


def test_time_in_a_wait_does_not_add_to_the_time_without_progress(hasty):
    assert hasty("read_slowly", 6, 0.35, 0.1) == 6


def test_a_wait_that_is_too_long_itself_is_not_the_works_fault(hasty):
    with pytest.raises(ChildDied) as died:
        hasty("read_slowly", 1, 600)
    assert died.value.waiting and died.value.reached == 5


def test_work_that_reads_for_ever_without_progress_is_at_fault_itself(hasty):
    with pytest.raises(ChildDied) as died:
        hasty("read_slowly", 5000, 0, 0.001)
    assert died.value.reached == 5 and died.value.reason == "no progress for 1 s"


@pytest.mark.parametrize("deed", [("take", 4096), ("take_slowly",)])
def test_memory_beyond_the_limit_is_refused_and_the_next_call_has_all_of_it(deed):
    with Watched(deeds, Limits(memory_mb=128)) as watched:
        with pytest.raises(MemoryError):
            watched(*deed)
        assert watched.pid is None
        assert watched("take", 64) == 64 << 20


def test_memory_that_does_not_suffice_to_build_the_work_is_not_the_calls_fault():
    with Watched(needs_much_memory, Limits(memory_mb=512)) as watched, pytest.raises(NoChildError, match=r"limits\.memory_mb=512"):
        watched("echo", 1)


def test_children_that_die_before_they_begin_are_not_the_calls_fault():
    with Watched(dies_while_building, Limits()) as watched, pytest.raises(NoChildError, match=r"3 times: its process died of signal 11 \(SIGSEGV\)"):
        watched("echo", 1)


def test_a_child_that_does_not_come_to_begin_is_given_up(monkeypatch):
    monkeypatch.setattr("abaw_ray.core.watched._START", 0.5)
    with Watched(partial(time.sleep, 600), Limits(seconds=0.1)) as watched, pytest.raises(NoChildError, match=r"within 0\.5 s"):
        watched("echo", 1)


def test_the_time_to_start_and_build_does_not_count_against_the_call():
    with Watched(builds_slowly, Limits(seconds=0.5)) as watched:
        assert watched(4) == 4


def builds_slowly():
    beat(99)
    time.sleep(1)
    return echo


@pytest.mark.parametrize("pause", [0, 0.5])  # before and after pebble has noticed
def test_a_child_killed_between_two_calls_does_not_count_against_the_next(watched, pause):
    watched("echo", 1)
    pid = watched.pid
    os.kill(pid, signal.SIGKILL)
    time.sleep(pause)
    assert watched("builds")[0] == 1 and watched.pid != pid


def test_a_child_that_leaves_between_two_calls_is_replaced_too(watched):
    watched("leave_later")
    pid = watched.pid
    wait_for_end(pid)
    assert watched("builds") == (1, watched.pid) and watched.pid != pid


def test_a_child_ignores_ctrl_c(watched):
    watched("echo", 1)
    os.kill(watched.pid, signal.SIGINT)
    assert watched("builds") == (1, watched.pid)


def test_the_caller_may_be_a_thread_that_ends(watched):
    watched.close()
    results = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: results.append(watched("builds")))
        thread.start()
        thread.join()
    assert results == [(1, watched.pid)] * 3


def test_ctrl_c_in_the_parent_ends_the_call_and_its_child(hasty):
    pid = hasty.pid
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            hasty("keep_going", 600, 0.05)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert hasty.pid is None and not psutil.pid_exists(pid)
    assert hasty("echo", 1) == 1


def test_close_leaves_no_process_and_no_thread(watched):
    watched.close()
    before = left_behind()
    with Watched(deeds, Limits(seconds=0.2)) as other:
        other("echo", 1)
        with pytest.raises(ChildDied):
            other("stall", 1)
        other("echo", 1)
        assert other.pid in left_behind()[0]
    assert left_behind() == before and other.pid is None


SCRIPT = """
import sys, test_watched
from abaw_ray.core.watched import Limits, Watched
open({log!r}, "a").write("ran\\n")
watched = Watched(test_watched.deeds, Limits())  # neither a main guard nor a close
print(*watched("environment"), watched.pid, flush=True)
{more}
"""


def start_script(tmp_path, more):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(log=str(tmp_path / "log"), more=more))
    here = Path(__file__)
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"PYTHONPATH": f"{here.parent}{os.pathsep}{here.parents[2]}"}
    return subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_script_without_a_main_guard_is_not_run_again_and_its_end_does_not_hang(tmp_path):
    with start_script(tmp_path, "") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and (tmp_path / "log").read_text() == "ran\n"
    threads, main, pid = said.split()
    assert (threads, main) == ("1", "None")
    wait_for_end(int(pid))


@pytest.mark.parametrize("deed", [("stall", 1), ("hang_in_c",)])
def test_a_child_does_not_outlive_its_parent(tmp_path, deed):
    with start_script(tmp_path, f"watched('say_and', *{deed!r})") as process:
        pid = int(process.stdout.readline().split()[-1])
        assert process.stdout.readline().strip() == deed[0]  # the child is at it
        process.kill()
    wait_for_end(pid)


def test_beats_and_waits_outside_a_child_do_nothing():
    beat(3)
    with waiting():
        pass


def test_a_death_can_be_pickled():
    died = pickle.loads(pickle.dumps(ChildDied("no progress for 2 s", 7, True)))
    assert (died.reason, died.reached, died.waiting) == ("no progress for 2 s", 7, True)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"memory_mb": 0}, {"memory_mb": -5}])
def test_limits_under_which_nothing_works_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"limits\.{name}="):
        Limits(**wrong)
