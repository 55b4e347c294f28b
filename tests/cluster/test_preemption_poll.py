"""When the ranks of a training look for preemption notices."""

import pytest

from abaw_ray.cluster.training import preemption
from abaw_ray.cluster.training.preemption import PreemptionPoll

STEPS_PER_EPOCH, NOTICE = 6, frozenset({"node"})


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [0.0]
    monkeypatch.setattr(preemption.time, "monotonic", lambda: now[0])
    return now


def epochs_until_found(clock, *, step_s: float, between_epochs_s: float, notice_at: float, interval_s: float = 1.0, epochs: int = 40):
    """Train with a notice from ``notice_at`` seconds on; returns the seconds until it is found, and the number of polls."""
    polls = []

    def nodes():
        polls.append(clock[0])
        return NOTICE if clock[0] >= notice_at else frozenset()

    poll, step = PreemptionPoll(nodes, interval_s, lambda mean: mean, 0), 0
    for epoch in range(1, epochs + 1):
        end = epoch * STEPS_PER_EPOCH
        while step < end:
            clock[0] += step_s
            step += 1
            if step < end and poll.new_nodes(step, end):
                return clock[0] - notice_at, len(polls)
        clock[0] += between_epochs_s
    return None, len(polls)


def test_a_notice_is_found_in_the_next_epoch_where_validation_takes_longer_than_the_steps(clock):
    seconds, _ = epochs_until_found(clock, step_s=0.02, between_epochs_s=5.0, notice_at=12.0)
    assert seconds is not None and seconds <= 5.2


def test_fast_steps_of_a_long_epoch_are_not_polled_each(clock):
    epoch = 1000
    poll_times = []

    def nodes():
        poll_times.append(clock[0])
        return frozenset()

    poll = PreemptionPoll(nodes, 1.0, lambda mean: mean, 0)
    for step in range(1, epoch):
        clock[0] += 0.01
        poll.new_nodes(step, epoch)
    assert 9 <= len(poll_times) <= 12


def test_a_notice_is_returned_once(clock):
    poll = PreemptionPoll(lambda: NOTICE, 0.0, lambda mean: mean, 0)
    assert [poll.new_nodes(step, 10) for step in (1, 2, 3)] == [NOTICE, frozenset(), frozenset()]


def test_machines_that_are_not_preempted_are_not_polled():
    poll = PreemptionPoll(None, 1.0, lambda mean: mean, 0)
    assert poll.new_nodes(1, 10) == frozenset()
