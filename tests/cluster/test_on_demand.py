"""When on-demand machines are requested, how many, and when the request is taken back."""

import time

import pytest
import ray
import yaml
from ray.util import placement_group_table

from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.waiting import on_demand as module
from abaw_ray.cluster.machines.waiting.on_demand import OnDemandRequest
from abaw_ray.cluster.machines.waiting.room import PlacementGroups

GPU, CPU = Resources(cpus=8, gpus=1, memory_gb=8), Resources(cpus=2)
FOUR_GPUS, ONE_GPU, CPUS = Machine({"CPU": 48, "GPU": 4}, 2), Machine({"CPU": 8, "GPU": 1}, 4), Machine({"CPU": 16}, 3)
MINUTE = 60


class Cloud:
    """Machines that run, start and may start, on a clock that the tests set."""

    def __init__(self, *machines):
        self.machines, self.running, self.starting, self.now = dict(zip("ab", machines, strict=False)), [], {}, 0.0
        self.sizes, self.requested, self.lines = [], [], []

    def request(self, size):
        self.sizes.append(size)
        self.requested.append(0)
        number = len(self.requested) - 1
        cloud = self

        class Request:
            def request(self, workers):
                cloud.requested[number] += workers

            def release(self):
                cloud.requested[number] = 0

        return Request()

    def on_demand(self, after_minutes=30):
        return OnDemandRequest(
            after_minutes=after_minutes,
            show=self.lines.append,
            request=self.request,
            machines=lambda: self.machines,
            running=lambda: self.running,
            starting=lambda: self.starting,
            clock=lambda: self.now,
        )


def poll(cloud, on_demand, missing, *, to_minute):
    while cloud.now < to_minute * MINUTE:
        cloud.now += 5
        on_demand.update(missing)


def test_whole_machines_are_requested_after_the_time_without_one():
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand()
    on_demand.update({GPU: 6})
    poll(cloud, on_demand, {GPU: 6}, to_minute=29)
    assert cloud.requested == []
    poll(cloud, on_demand, {GPU: 6}, to_minute=31)
    assert cloud.requested == [2] and cloud.sizes == [Resources(cpus=32, gpus=4, memory_gb=32)]
    text = "no machine in 30.0 min; requests 2 on-demand machines for 6 workers with 8 CPU + 1 GPU + 8 GB (compute.on_demand_after_minutes)"
    assert cloud.lines == [text] and on_demand.requested_at == 30 * MINUTE


def test_no_more_machines_are_requested_than_may_start_and_no_larger_parts_than_needed():
    cloud = Cloud(ONE_GPU)
    poll(cloud, cloud.on_demand(), {GPU: 9}, to_minute=31)
    assert cloud.requested == [4]
    cloud = Cloud(FOUR_GPUS)
    poll(cloud, cloud.on_demand(), {GPU: 1}, to_minute=31)
    assert cloud.requested == [1] and cloud.sizes == [GPU]


def test_a_request_ends_when_as_many_machines_are_starting():
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand()
    poll(cloud, on_demand, {GPU: 8}, to_minute=31)
    cloud.starting = {"a": 1, "gpu_spot": 5}
    on_demand.update({GPU: 8})
    assert cloud.requested == [2], "the other machine is still to be started"
    cloud.starting = {"a": 2}
    on_demand.update({GPU: 8})
    assert cloud.requested == [0] and on_demand.requested_at == 1805, "the wait goes on"


def test_a_request_ends_when_a_machine_runs_also_a_busy_one_and_none_is_made_meanwhile():
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand()
    poll(cloud, on_demand, {GPU: 4}, to_minute=31)
    cloud.running = [ONE_GPU]
    poll(cloud, on_demand, {GPU: 4}, to_minute=120)
    assert cloud.requested == [0]


def test_the_time_without_a_machine_begins_when_the_last_one_is_lost():
    cloud = Cloud(FOUR_GPUS)
    cloud.running, on_demand = [ONE_GPU], cloud.on_demand()
    poll(cloud, on_demand, {GPU: 4}, to_minute=59)
    cloud.running = []
    poll(cloud, on_demand, {GPU: 4}, to_minute=88)
    assert cloud.requested == []
    poll(cloud, on_demand, {GPU: 4}, to_minute=90)
    assert cloud.requested == [1]


def test_each_size_has_its_own_time():
    cloud = Cloud(FOUR_GPUS, CPUS)
    on_demand = cloud.on_demand()
    poll(cloud, on_demand, {GPU: 4}, to_minute=29)
    poll(cloud, on_demand, {GPU: 4, CPU: 3}, to_minute=31)
    assert [size.gpus for size in cloud.sizes] == [4]
    poll(cloud, on_demand, {GPU: 4, CPU: 3}, to_minute=59.5)
    assert [size.gpus for size in cloud.sizes] == [4, 0] and cloud.sizes[1].cpus == 6


def test_a_request_is_repeated_as_its_machine_may_have_failed_to_start():
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand()
    poll(cloud, on_demand, {GPU: 4}, to_minute=59)
    assert len(cloud.requested) == 1
    poll(cloud, on_demand, {GPU: 4}, to_minute=61)
    assert sum(cloud.requested) == 1 and len(cloud.requested) == 2 and "no machine in 1.0 h" in cloud.lines[1]


def test_none_is_requested_again_while_it_is_starting_and_at_once_when_that_has_failed():
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand(after_minutes=5)
    poll(cloud, on_demand, {GPU: 4}, to_minute=6)
    cloud.starting = {"a": 1}
    poll(cloud, on_demand, {GPU: 4}, to_minute=14)
    assert len(cloud.lines) == 1 and sum(cloud.requested) == 0
    cloud.starting = {}
    poll(cloud, on_demand, {GPU: 4}, to_minute=14.2)
    assert len(cloud.lines) == 2 and sum(cloud.requested) == 1


def test_no_machine_with_gpus_is_started_for_work_without_them_and_none_where_it_is_turned_off():
    cloud = Cloud(FOUR_GPUS)
    poll(cloud, cloud.on_demand(), {CPU: 3}, to_minute=90)
    poll(cloud, cloud.on_demand(after_minutes=0), {GPU: 4}, to_minute=180)
    assert not cloud.requested and not cloud.lines


def test_the_next_wait_begins_at_zero():
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand()
    poll(cloud, on_demand, {GPU: 4}, to_minute=31)
    on_demand.release()
    assert cloud.requested == [0] and on_demand.requested_at is None
    poll(cloud, on_demand, {GPU: 1}, to_minute=60)
    assert len(cloud.requested) == 1


def test_a_request_of_the_size_of_a_worker_is_not_taken_for_a_worker():
    cloud = Cloud(ONE_GPU)
    on_demand = cloud.on_demand()
    assert on_demand.counted(GPU) == 0
    poll(cloud, on_demand, {GPU: 3}, to_minute=31)
    assert on_demand.counted(GPU) == 3 and on_demand.counted(CPU) == 0
    cloud = Cloud(FOUR_GPUS)
    on_demand = cloud.on_demand()
    poll(cloud, on_demand, {GPU: 4}, to_minute=31)
    assert cloud.requested == [1] and on_demand.counted(GPU) == 0


def test_by_default_machines_are_those_of_the_cluster_file(tmp_path, monkeypatch):
    types = {
        "head": {"resources": {"CPU": 0}},
        "gpu_on_demand": {"resources": {"CPU": 48, "GPU": 4}, "max_workers": 1, "labels": {"abaw-pool": "on-demand"}},
    }
    path = tmp_path / "ray_bootstrap_config.yaml"
    path.write_text(yaml.safe_dump({"provider": {"type": "aws"}, "max_workers": 2, "head_node_type": "head", "available_node_types": types}))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(module.on_demand_machines, "__defaults__", (path,))
    assert OnDemandRequest(after_minutes=1, show=print).machines() == {"gpu_on_demand": Machine({"CPU": 48, "GPU": 4}, 1)}


@pytest.mark.slow
def test_a_request_with_a_label_gets_only_machines_that_have_it_and_frees_them_when_it_ends():
    from ray.cluster_utils import Cluster

    size = Resources(cpus=2, memory_gb=0.1)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20, "include_dashboard": False})
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        labelled, room = module._request(size), PlacementGroups(size)
        cluster.add_node(num_cpus=2, object_store_memory=80 << 20, labels={"abaw-pool": "gpu"})
        labelled.request(1)
        room.request(2)
        _wait(lambda: room.count() == 1)
        assert labelled.count() == 0
        cluster.add_node(num_cpus=2, object_store_memory=80 << 20, labels={"abaw-pool": "on-demand"})
        _wait(lambda: labelled.count() + room.count() == 2)
        labelled.release()
        _wait(lambda: room.count() == 2)
        assert [group["state"] for group in placement_group_table().values()].count("CREATED") == 2
        room.release()
        _wait(lambda: ray.available_resources().get("CPU") == 4)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _wait(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("no such state in 30 s")
