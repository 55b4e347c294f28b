"""When on-demand machines are requested, and when the request is taken back."""

import time

import pytest
import ray

from abaw_ray.cluster.machines.on_demand import OnDemandRequest
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.room import PlacementGroups

GPU, CPU = Resources(cpus=8, gpus=1, memory_gb=8), Resources(cpus=2)


class FakeRequest:
    """A request for machines, some of which have joined."""

    def __init__(self):
        self.left, self.joined, self.released = 0, 0, False

    def request(self, workers):
        self.left += workers

    def waiting(self):
        return self.left - self.joined

    def release_reserved(self):
        self.left, self.joined = self.left - self.joined, 0

    def release(self):
        self.left, self.released = 0, True


@pytest.fixture
def made():
    return []


@pytest.fixture
def on_demand(made):
    def request(size):
        made.append((size, FakeRequest()))
        return made[-1][1]

    shown = []
    found = OnDemandRequest(after_minutes=30, show=shown.append, request=request, fits=lambda size: size == GPU)
    found.shown = shown
    return found


def test_machines_are_requested_after_the_whole_time_once(on_demand, made):
    for seconds in range(0, 2000, 5):
        on_demand.update(seconds, {GPU: 4})
        assert bool(made) == (seconds >= 1800)
    assert [(size, request.left) for size, request in made] == [(GPU, 4)] and on_demand.waiting(GPU) == 4
    line = "no machine in 30.0 min; requests on-demand machines for 4 workers with 8 CPU + 1 GPU + 8 GB (compute.on_demand_after_minutes)"
    assert on_demand.shown == [line]


def test_a_machine_that_has_joined_is_given_to_the_workers_and_the_rest_stays_requested(on_demand, made):
    on_demand.update(1800, {GPU: 4})
    made[0][1].joined = 3
    on_demand.update(1801, {})
    assert on_demand.waiting(GPU) == made[0][1].left == 1


def test_a_request_is_repeated_as_what_it_started_may_be_gone(on_demand, made):
    on_demand.update(1800, {GPU: 4})
    on_demand.update(3599, {GPU: 2})
    assert len(made) == 1
    on_demand.update(3600, {GPU: 2})
    assert made[0][1].released and [request.left for _, request in made] == [0, 2]


def test_nothing_is_requested_for_workers_that_fit_on_no_such_machine_or_if_it_is_turned_off(on_demand, made):
    on_demand.update(1800, {CPU: 3})
    off = OnDemandRequest(after_minutes=0, show=print, request=on_demand.request, fits=lambda size: True)
    off.update(1e9, {GPU: 4})
    assert not made and not on_demand.shown


def test_the_next_wait_begins_at_zero(on_demand, made):
    on_demand.update(1800, {GPU: 4})
    on_demand.release()
    assert made[0][1].released and on_demand.waiting(GPU) == 0
    on_demand.update(10, {GPU: 1})
    assert len(made) == 1
    on_demand.update(1800, {GPU: 1})
    assert len(made) == 2


@pytest.mark.slow
def test_a_request_with_a_label_gets_only_machines_that_have_it_and_gives_them_to_requests_without():
    from ray.cluster_utils import Cluster

    size = Resources(cpus=2, memory_gb=0.1)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        labelled, room = PlacementGroups(size, labels={"abaw-pool": "on-demand"}), PlacementGroups(size)
        cluster.add_node(num_cpus=2, object_store_memory=80 << 20, labels={"abaw-pool": "gpu"})
        labelled.request(1)
        room.request(2)
        _wait(lambda: room.count() == 1)
        assert (labelled.count(), labelled.waiting(), room.waiting()) == (0, 1, 1)
        cluster.add_node(num_cpus=2, object_store_memory=80 << 20, labels={"abaw-pool": "on-demand"})
        _wait(lambda: labelled.count() + room.count() == 2)
        labelled.release_reserved()
        _wait(lambda: room.count() == 2)
        labelled.release()
        room.release()
        assert labelled.count() == room.count() == room.waiting() == 0
    finally:
        ray.shutdown()
        cluster.shutdown()


def _wait(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("no such state in 30 s")
