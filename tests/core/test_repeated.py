"""Calls that are repeated in a thread while a block runs."""

import threading

import pytest

from abaw_ray.core.repeated import repeated


def test_the_call_is_repeated_until_the_block_ends_and_not_after_it():
    calls, third = [], threading.Event()

    def call():
        calls.append(threading.current_thread())
        if len(calls) == 3:
            third.set()

    with repeated(call, interval_s=0.001):
        assert third.wait(timeout=30)
    assert not any(thread.is_alive() for thread in calls) and threading.current_thread() not in calls


def test_a_block_that_ends_before_the_interval_has_no_call():
    with repeated(lambda: pytest.fail("called"), interval_s=3600.0):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_of_the_call_ends_the_repetition_and_not_the_block():
    threads, called = [], threading.Event()

    def call():
        threads.append(threading.current_thread())
        called.set()
        raise ValueError

    with repeated(call, interval_s=0.001):
        assert called.wait(timeout=30)
        threads[0].join(timeout=30)
        assert not threads[0].is_alive()


def test_an_error_of_the_block_ends_the_repetition_and_is_raised():
    threads, called = [], threading.Event()

    def call():
        threads.append(threading.current_thread())
        called.set()

    def block():
        with repeated(call, interval_s=0.001):
            assert called.wait(timeout=30)
            raise KeyError

    with pytest.raises(KeyError):
        block()
    assert not threads[0].is_alive()
