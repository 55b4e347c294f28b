"""When the ranks of a training look for preemption notices and write checkpoints within an epoch."""

import pytest

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.training.ranks import polls
from abaw_ray.cluster.training.ranks.polls import Poll, RankPolls

STEPS_PER_EPOCH, NOTICE = 6, frozenset({"node"})


def rank_polls(nodes, interval_s=1.0, checkpoint_minutes=1e6):
    """Polls of a single rank from step 0 on."""
    compute = ComputeConfig(preemption_poll_s=interval_s, recovery=RecoveryConfig(checkpoint_minutes=checkpoint_minutes))
    return RankPolls(nodes, compute, lambda mean: mean, 0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [0.0]
    monkeypatch.setattr(polls.time, "monotonic", lambda: now[0])
    return now


def epochs_until_found(clock, *, step_s: float, between_epochs_s: float, notice_at: float, interval_s: float = 1.0, epochs: int = 40):
    """Train with a notice from ``notice_at`` seconds on; returns the seconds until it is found, and the number of polls."""
    looks = []

    def nodes():
        looks.append(clock[0])
        return NOTICE if clock[0] >= notice_at else frozenset()

    poll, step = rank_polls(nodes, interval_s), 0
    for epoch in range(1, epochs + 1):
        end = epoch * STEPS_PER_EPOCH
        while step < end:
            clock[0] += step_s
            step += 1
            if step < end and poll.after(step, end).preempted:
                return clock[0] - notice_at, len(looks)
        clock[0] += between_epochs_s
    return None, len(looks)


def test_a_notice_is_found_in_the_next_epoch_where_validation_takes_longer_than_the_steps(clock):
    seconds, _ = epochs_until_found(clock, step_s=0.02, between_epochs_s=5.0, notice_at=12.0)
    assert seconds is not None and seconds <= 5.2


def test_fast_steps_of_a_long_epoch_are_not_polled_each(clock):
    epoch = 1000
    looks = []

    def nodes():
        looks.append(clock[0])
        return frozenset()

    poll = rank_polls(nodes)
    for step in range(1, epoch):
        clock[0] += 0.01
        poll.after(step, epoch)
    assert 9 <= len(looks) <= 12


def test_a_notice_is_returned_once(clock):
    poll = rank_polls(lambda: NOTICE, 0.0)
    assert [poll.after(step, 10).preempted for step in (1, 2, 3)] == [NOTICE, frozenset(), frozenset()]
    assert Poll(NOTICE).checkpoint and not Poll().checkpoint


def test_machines_that_are_not_preempted_have_no_notices(clock):
    assert rank_polls(None).after(1, 10) == Poll()


def test_a_checkpoint_is_due_when_the_last_one_is_old(clock):
    poll, due = rank_polls(None, checkpoint_minutes=1.0), []
    for step in range(1, 200):
        clock[0] += 1.0
        if poll.after(step, 1000).checkpoint:
            due.append(step)
            poll.saved()
    assert due == [60, 120, 180]
