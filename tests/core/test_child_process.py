import gc
import os
import pickle
import signal
import sys
import threading
import time
from functools import partial

import psutil
import pytest
from child_calls import build_calls, builds_slowly, dies_while_building, fails_to_build, needs_much_memory, wait_for_end

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child import memory_is_short
from abaw_ray.core.process.child_process import ChildDied, ChildLimits, ChildProcess, NoChildError


def processes_and_threads():
    """Process ids of all descendants of this process, and its number of threads."""
    return [process.pid for process in psutil.Process().children(recursive=True)], threading.active_count()


def test_an_error_while_the_work_is_built_is_raised_at_each_call():
    with ChildProcess(fails_to_build, ChildLimits()) as child:
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"detector\.file=x"):
                child()


@pytest.mark.parametrize(
    ("call", "reason", "progress"),
    [
        (("die", 41, signal.SIGSEGV), "its process was killed by signal 11 (SIGSEGV)", 41),
        (("die", 0, signal.SIGKILL), "its process was killed by signal 9 (SIGKILL)", 0),
        (("exit_with", 3), "its process ended with exit code 3", 2),
        (("exit_with", 0), "its process ended with exit code 0", 2),
        (("stall", 12), "no progress for 4 s", 12),
        (("hang_in_c",), "no progress for 4 s", 6),
    ],
)
def test_a_child_that_dies_or_stalls_is_reported_with_its_progress_and_the_next_call_works(child_with_timeout, call, reason, progress):
    pid = child_with_timeout.pid
    with pytest.raises(ChildDied) as died:
        child_with_timeout(*call)
    assert (str(died.value), died.value.progress, died.value.in_io_wait) == (reason, progress, False)
    assert not psutil.pid_exists(pid) and child_with_timeout.pid is None
    assert child_with_timeout("echo", 5) == 5
    with pytest.raises(ChildDied) as died:
        child_with_timeout("die", 1, signal.SIGABRT)
    assert died.value.progress == 1


def test_memory_is_short_near_the_limit_and_progress_is_available_after_a_call():
    with ChildProcess(build_calls, ChildLimits(memory_mb=512)) as child:
        assert child("short_before_and_after", 100) == (False, False, 100)
        assert child("short_before_and_after", 475) == (False, True, 475)
        child("beat_with_and_without_count")
        assert child.progress == 5
    assert not memory_is_short(), "without a limit, memory is never short"


def test_too_little_memory_to_build_the_work_raises_no_child_error():
    with ChildProcess(needs_much_memory, ChildLimits(memory_mb=512)) as child, pytest.raises(NoChildError, match=r"limits\.memory_mb=512"):
        child("echo", 1)


def test_children_that_die_before_the_call_starts_raise_no_child_error():
    with (
        ChildProcess(dies_while_building, ChildLimits()) as child,
        pytest.raises(NoChildError, match=r"3 times: its process was killed by signal 11 \(SIGSEGV\)"),
    ):
        child("echo", 1)


def test_a_child_that_never_starts_its_call_is_killed(monkeypatch):
    monkeypatch.setattr("abaw_ray.core.process.child_process._START_TIMEOUT", 0.5)
    with ChildProcess(partial(time.sleep, 600), ChildLimits(seconds=0.1)) as child, pytest.raises(NoChildError, match=r"within 0\.5 s"):
        child("echo", 1)


def test_time_to_start_and_build_does_not_count_as_time_without_progress():
    with ChildProcess(builds_slowly, ChildLimits(seconds=0.5)) as child:
        assert child(4) == 4


def test_arguments_larger_than_the_channels_buffer_do_not_block_on_a_child_that_does_not_read(monkeypatch):
    monkeypatch.setattr("abaw_ray.core.process.child_process._START_TIMEOUT", 0.5)
    with ChildProcess(partial(time.sleep, 600), ChildLimits(seconds=0.1)) as child:
        for size in (1, 4 << 20):
            with pytest.raises(NoChildError, match=r"within 0\.5 s"):
                child(bytes(size))


def test_large_arguments_and_results_arrive_whole(child_with_timeout):
    value = os.urandom(5 << 20)
    assert child_with_timeout("echo", value) == value


def test_a_crash_is_detected_while_another_process_holds_the_channel(child_with_timeout):
    start = time.monotonic()
    with pytest.raises(ChildDied, match="SIGSEGV"):
        child_with_timeout("fork_and_die")
    assert time.monotonic() - start < 3


def test_the_child_has_the_import_path_of_its_parent(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    with ChildProcess(build_calls, ChildLimits()) as child:
        assert child("import_path") == sys.path


def test_a_child_without_references_ends():
    child = ChildProcess(build_calls, ChildLimits())
    pid = child("builds")[1]
    del child
    gc.collect()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("pause", [0, 0.5])  # before and after the parent can detect it
def test_a_child_killed_between_two_calls_is_replaced(child, pause):
    child("echo", 1)
    pid = child.pid
    os.kill(pid, signal.SIGKILL)
    time.sleep(pause)
    assert child("builds")[0] == 1 and child.pid != pid


def test_a_child_that_exits_between_two_calls_is_replaced(child):
    child("exit_later")
    pid = child.pid
    wait_for_end(pid)
    assert child("builds") == (1, child.pid) and child.pid != pid


def test_the_caller_may_be_a_thread_that_ends(child):
    child.close()
    results = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: results.append(child("builds")))
        thread.start()
        thread.join()
    assert results == [(1, child.pid)] * 3


def test_ctrl_c_in_the_parent_ends_the_call_and_the_child(child_with_timeout):
    pid = child_with_timeout.pid
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            child_with_timeout("keep_going", 600, 0.05)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert child_with_timeout.pid is None and not psutil.pid_exists(pid)
    assert child_with_timeout("echo", 1) == 1


def test_close_leaves_no_process_and_no_thread(child):
    child.close()
    before = processes_and_threads()
    with ChildProcess(build_calls, ChildLimits(seconds=2)) as other:
        other("echo", 1)
        with pytest.raises(ChildDied):
            other("stall", 1)
        other("echo", 1)
        assert other.pid in processes_and_threads()[0]
    assert processes_and_threads() == before and other.pid is None


def test_child_died_can_be_pickled():
    died = pickle.loads(pickle.dumps(ChildDied("no progress for 2 s", 7, True)))
    assert (died.reason, died.progress, died.in_io_wait) == ("no progress for 2 s", 7, True)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"memory_mb": 0}, {"memory_mb": -5}])
def test_invalid_limits_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"limits\.{name}="):
        ChildLimits(**wrong)
