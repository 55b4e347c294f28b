import os
import pickle
import signal
import threading
import time
from functools import partial
from multiprocessing import resource_tracker

import psutil
import pytest
from deeds import builds_slowly, deeds, dies_while_building, fails_to_build, needs_much_memory, wait_for_end

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child import memory_is_short
from abaw_ray.core.process.child_process import ChildDied, ChildLimits, ChildProcess, NoChildError


def left_behind():
    """Processes and threads of this one, but for what Python itself keeps."""
    tracker = resource_tracker._resource_tracker._pid
    mine = [process.pid for process in psutil.Process().children(recursive=True) if process.pid != tracker]
    return mine, threading.active_count()


def test_what_cannot_be_built_comes_out_as_itself_each_time():
    with ChildProcess(fails_to_build, ChildLimits()) as watched:
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


def test_a_child_knows_when_its_memory_is_nearly_used_up_and_its_parent_how_far_it_got():
    with ChildProcess(deeds, ChildLimits(memory_mb=512)) as watched:
        assert watched("short_before_and_after", 100) == (False, False, 100)
        assert watched("short_before_and_after", 475) == (False, True, 475)
        watched("go_on")
        assert watched.reached == 5
    assert not memory_is_short(), "no limit, no shortness"


def test_memory_that_does_not_suffice_to_build_the_work_is_not_the_calls_fault():
    with ChildProcess(needs_much_memory, ChildLimits(memory_mb=512)) as watched, pytest.raises(NoChildError, match=r"limits\.memory_mb=512"):
        watched("echo", 1)


def test_children_that_die_before_they_begin_are_not_the_calls_fault():
    with (
        ChildProcess(dies_while_building, ChildLimits()) as watched,
        pytest.raises(NoChildError, match=r"3 times: its process died of signal 11 \(SIGSEGV\)"),
    ):
        watched("echo", 1)


def test_a_child_that_does_not_come_to_begin_is_given_up(monkeypatch):
    monkeypatch.setattr("abaw_ray.core.process.child_process._START", 0.5)
    with ChildProcess(partial(time.sleep, 600), ChildLimits(seconds=0.1)) as watched, pytest.raises(NoChildError, match=r"within 0\.5 s"):
        watched("echo", 1)


def test_the_time_to_start_and_build_does_not_count_against_the_call():
    with ChildProcess(builds_slowly, ChildLimits(seconds=0.5)) as watched:
        assert watched(4) == 4


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
    with ChildProcess(deeds, ChildLimits(seconds=0.2)) as other:
        other("echo", 1)
        with pytest.raises(ChildDied):
            other("stall", 1)
        other("echo", 1)
        assert other.pid in left_behind()[0]
    assert left_behind() == before and other.pid is None


def test_a_death_can_be_pickled():
    died = pickle.loads(pickle.dumps(ChildDied("no progress for 2 s", 7, True)))
    assert (died.reason, died.reached, died.waiting) == ("no progress for 2 s", 7, True)


@pytest.mark.parametrize("wrong", [{"seconds": 0}, {"seconds": float("nan")}, {"seconds": float("inf")}, {"memory_mb": 0}, {"memory_mb": -5}])
def test_limits_under_which_nothing_works_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"limits\.{name}="):
        ChildLimits(**wrong)
