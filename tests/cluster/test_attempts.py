"""What follows a failed attempt at a training: machines that come late, go, and come back, on a clock that the tests set."""

import pytest
from ray.train import TrainingFailedError

from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.waiting.on_demand import OnDemandRequest
from abaw_ray.cluster.training.attempts import Attempts, Restart
from abaw_ray.cluster.training.sizes import LargerSizes, allowed_sizes
from abaw_ray.core.errors import ConfigError, StageError

MINUTE, HOUR = 60.0, 3600.0
WORKER = Resources(cpus=8, gpus=1, memory_gb=8)
DONE = {"macro_f1": 0.5}


class Cluster:
    """Machines that become ready at set times, one worker each, on a clock that waiting moves."""

    def __init__(self, ready_at=()):
        self.now, self.ready_at, self.requested = 0.0, list(ready_at), 0
        self.messages, self.sizes, self.saved, self.requests = [], [], 0, []

    def request(self, workers):
        self.requested += workers
        self.requests.append(workers)

    def count(self):
        return min(self.requested, sum(moment <= self.now for moment in self.ready_at))

    def release(self):
        self.requested = 0

    def sleep(self, seconds):
        self.now += seconds


class OnDemand:
    """A request for on-demand machines of one worker each: the first is ready after five minutes, the next a minute later, and so on."""

    def __init__(self, cluster):
        self.cluster = cluster

    def request(self, workers):
        self.cluster.ready_at += [self.cluster.now + (5 + number) * MINUTE for number in range(workers)]

    def release(self):
        pass


class FailedError(TrainingFailedError):
    """A failure of the kind that is given."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


def attempts(cluster, outcomes, *, workers=4, batch_size=4, on_demand_after_minutes=0.0, **recovery):
    """Attempts with these outcomes: (seconds, new checkpoints, a result or a kind of failure)."""
    remaining = iter(outcomes)

    def fit(size):
        cluster.sizes.append(size)
        seconds, saved, outcome = next(remaining)
        cluster.now += seconds
        cluster.saved += saved
        if isinstance(outcome, str):
            raise FailedError(outcome)
        return outcome

    settings = RecoveryConfig(**recovery)
    return Attempts(
        fit=fit,
        failure_kind=lambda error: error.kind.partition(":")[0],
        failure_error=lambda error: StageError(f"encoder: {error}"),
        checkpoints=lambda: cluster.saved,
        room=cluster,
        sizes=allowed_sizes(workers, settings.min_workers, batch_size),
        worker=WORKER,
        recovery=settings,
        on_demand=OnDemandRequest(
            after_minutes=on_demand_after_minutes,
            show=cluster.messages.append,
            request=lambda size: OnDemand(cluster),
            machines=lambda: {"on_demand": Machine(WORKER.request, 4)},
            running=lambda: [Machine(WORKER.request)] * sum(moment <= cluster.now for moment in cluster.ready_at),
            starting=dict,
            clock=lambda: cluster.now,
        ),
        show=cluster.messages.append,
        why=lambda: "InsufficientInstanceCapacity",
        clock=lambda: cluster.now,
        sleep=cluster.sleep,
    )


def test_a_training_with_all_machines_starts_at_once_and_says_nothing():
    cluster = Cluster([0] * 4)
    assert attempts(cluster, [(HOUR, 3, DONE)]).run() == DONE
    assert (cluster.sizes, cluster.messages, cluster.now) == ([4], [], HOUR)
    assert cluster.requested == 0, "the room is free for the workers"


def test_machines_that_take_minutes_are_waited_for_with_a_line_a_minute():
    cluster = Cluster([0, 7 * MINUTE, 7 * MINUTE, 8 * MINUTE])
    attempts(cluster, [(HOUR, 3, DONE)]).run()
    assert cluster.sizes == [4] and cluster.now == 8 * MINUTE + HOUR
    assert len(cluster.messages) == 8
    assert cluster.messages[0] == "waiting 15 s for 4 workers with 8 CPU + 1 GPU + 8 GB each; there is room for 1: InsufficientInstanceCapacity"
    assert cluster.messages[-1].startswith("waiting 7.2 min for 4 workers") and "room for 3" in cluster.messages[-1]


def test_after_some_minutes_the_largest_number_that_divides_the_batch_starts():
    cluster = Cluster([0, 0, 0])
    attempts(cluster, [(HOUR, 3, DONE)]).run()
    assert cluster.sizes == [2] and cluster.now == 10 * MINUTE + HOUR
    assert cluster.messages[-1] == "starts with 2 of 4 workers; more are started after a checkpoint, as soon as they have room"


def test_no_smaller_number_than_the_minimum_starts():
    cluster = Cluster([0, 0, 0, 2 * HOUR])
    attempts(cluster, [(HOUR, 3, DONE)], min_workers=3).run()
    assert cluster.sizes == [4] and cluster.now == 3 * HOUR


def test_several_machines_replaced_in_a_row_cost_no_budget():
    cluster = Cluster([0] * 4)
    outcomes = [(2 * MINUTE, 0, "preempted")] * 10 + [(2 * MINUTE, 1, Restart())] * 10 + [(HOUR, 3, DONE)]
    assert attempts(cluster, outcomes).run() == DONE


def test_failures_count_since_the_last_new_checkpoint():
    cluster = Cluster([0] * 4)
    assert attempts(cluster, [(HOUR, 1, "failed")] * 9 + [(HOUR, 3, DONE)], max_failures=1).run() == DONE
    assert cluster.messages == ["failed (failure 1, at most 1 without a new checkpoint)"] * 9
    cluster = Cluster([0] * 4)
    with pytest.raises(StageError, match="encoder: failed"):
        attempts(cluster, [(HOUR, 1, "failed"), *[(MINUTE, 0, "failed")] * 3], max_failures=2).run()
    assert len(cluster.sizes) == 3


def test_the_error_is_the_first_failure_since_the_last_checkpoint_and_every_failure_is_shown():
    cluster = Cluster([0] * 4)
    outcomes = [
        (HOUR, 1, "failed: bad luck"),
        (HOUR, 1, "failed: the disk is full"),
        (MINUTE, 0, "failed: no process"),
        (MINUTE, 0, "failed: no process"),
    ]
    with pytest.raises(StageError, match="encoder: failed: the disk is full"):
        attempts(cluster, outcomes, max_failures=2).run()
    assert [message.partition(" (")[0] for message in cluster.messages] == ["failed: bad luck", "failed: the disk is full", "failed: no process"]


def test_workers_that_are_not_ready_in_time_are_no_failure_but_count_as_time_without_machines():
    cluster = Cluster([0] * 4)
    assert attempts(cluster, [(120, 0, "not started")] * 20 + [(HOUR, 3, DONE)]).run() == DONE
    cluster = Cluster([0] * 4)
    with pytest.raises(StageError, match=r"no machines for 4 workers with 8 CPU \+ 1 GPU \+ 8 GB each in 1\.0 h"):
        attempts(cluster, [(120, 0, "not started")] * 100, give_up_after_hours=1).run()
    assert 29 <= len(cluster.sizes) <= 31


def test_half_an_hour_without_any_machine_ends_nothing_but_days_do():
    cluster = Cluster([0.6 * HOUR] * 4)
    attempts(cluster, [(HOUR, 3, DONE)]).run()
    assert cluster.sizes == [4]
    cluster = Cluster([])
    with pytest.raises(StageError, match=r"72\.0 h \(compute\.recovery\.give_up_after_hours\); see `ray status`; the same command continues"):
        attempts(cluster, []).run()
    assert 71 * 60 <= len(cluster.messages) <= 72 * 60


def test_a_new_checkpoint_resets_the_time_without_machines():
    cluster = Cluster([0.9 * HOUR] * 4)
    outcomes = [(HOUR, 1, "preempted")] + [(0.9 * HOUR, 0, "not started"), (HOUR, 1, "failed")] * 5 + [(HOUR, 1, DONE)]
    assert attempts(cluster, outcomes, give_up_after_hours=1).run() == DONE


def test_ctrl_c_is_answered_while_waiting():
    cluster = Cluster([])

    def interrupted(seconds):
        assert seconds <= 5
        raise KeyboardInterrupt

    cluster.sleep = interrupted
    with pytest.raises(KeyboardInterrupt):
        attempts(cluster, []).run()
    assert cluster.requested == 0, "no request for machines is left"


def test_a_smaller_training_continues_with_more_workers_when_they_have_room():
    cluster = Cluster([0, 0])
    outcomes = [(HOUR, 3, Restart(4)), (HOUR, 3, DONE)]
    cluster.ready_at += [1.1 * HOUR] * 2
    attempts(cluster, outcomes).run()
    assert cluster.sizes == [2, 4]


def test_after_a_failure_a_smaller_training_does_not_wait_for_more_than_it_had():
    cluster = Cluster([0, 0])
    attempts(cluster, [(HOUR, 1, "failed"), (HOUR, 1, Restart()), (HOUR, 3, DONE)]).run()
    assert cluster.sizes == [2, 2, 2] and cluster.now == 10 * MINUTE + 3 * HOUR


def test_a_rank_asks_for_the_missing_workers_and_finds_the_sizes_that_divide_the_batch():
    cluster = Cluster([0, 1, 2])
    larger = LargerSizes(cluster, allowed_sizes(4, 1, 8), 1)
    assert cluster.requests == [3]
    found = []
    for cluster.now in (-1, 0, 1, 2):
        found.append(larger.with_room())
    assert found == [0, 2, 2, 4]


def test_allowed_sizes_divide_the_batch():
    assert allowed_sizes(8, 1, 24) == (8, 6, 4, 3, 2, 1)
    assert allowed_sizes(8, 3, 24) == (8, 6, 4, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_workers": 0}, "recovery.min_workers=0 must be 1 or more"),
        ({"checkpoint_minutes": 0}, "recovery.checkpoint_minutes=0 must be above 0"),
        ({"give_up_after_hours": -1}, "recovery.give_up_after_hours=-1 must be 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        RecoveryConfig(**settings).check("recovery")


def test_on_demand_machines_are_requested_after_a_wait_without_any_machine_and_all_of_them_are_waited_for():
    cluster = Cluster([])
    attempts(cluster, [(HOUR, 3, DONE)], on_demand_after_minutes=30).run()
    assert cluster.sizes == [4] and cluster.now == pytest.approx(HOUR + 38 * MINUTE, abs=5), "ten minutes are over, but not since the request"
    assert sum("requests 4 on-demand machines for 4 workers" in line for line in cluster.messages) == 1


def test_no_on_demand_machine_is_requested_while_a_machine_runs():
    cluster = Cluster([0, 90 * MINUTE])
    attempts(cluster, [(HOUR, 3, DONE)], on_demand_after_minutes=30, wait_minutes=60).run()
    assert cluster.sizes == [1] and not any("on-demand" in line for line in cluster.messages)


def test_preemptions_without_a_checkpoint_between_them_end_the_training_at_last():
    cluster = Cluster([0] * 4)
    assert (
        attempts(
            cluster, [*[(MINUTE, 0, "preempted")] * 3, (HOUR, 1, "preempted"), *[(MINUTE, 0, "preempted")] * 2, (HOUR, 1, DONE)], max_preemptions=3
        ).run()
        == DONE
    )
    with pytest.raises(StageError, match=r"preempted 3 times without a new checkpoint .*compute\.recovery\.max_preemptions"):
        attempts(Cluster([0] * 4), [(MINUTE, 0, "preempted")] * 9, max_preemptions=2).run()
