"""Lines about a wait for machines: when they are shown, and what they say about the state of Ray's autoscaler."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from ray.autoscaler.v2.schema import (
    ClusterStatus,
    LaunchRequest,
    NodeInfo,
    PlacementGroupResourceDemand,
    RayTaskActorDemand,
    ResourceDemandSummary,
    ResourceRequestByCount,
)
from ray.exceptions import RpcError

from abaw_ray.cluster.machines.autoscaler import cluster_status, machine_types, machines_text, requests_without_room, why_no_machines
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.waiting import watch
from abaw_ray.cluster.machines.waiting.notice import WaitNotice

GPU_WORKER = Resources(cpus=8, gpus=1, memory_gb=8)
LOG = "\n".join(
    f"2026-11-29 09:30:5{second} INFO node_provider.py:491 -- Failed to launch {text}"
    for second, text in enumerate(
        [
            "1 nodes of type gpu_spot: Node Launch Exception (VcpuLimitExceeded): You have requested more vCPU capacity than your limit.",
            "4 nodes of type gpu_spot: Node Launch Exception (InsufficientInstanceCapacity): We currently do not have sufficient g5.2xlarge"
            " capacity in the Availability Zone you requested (us-west-2a).",
            "1 nodes of type cpu_spot: Quota 'CPUS' exceeded. Limit: 24.0 in region us-west1.",
        ]
    )
)


class OnDemand:
    """Records what a wait says; ``counted``: number of requests of the size of a worker."""

    def __init__(self, counted=None):
        self.calls, self._counted = [], counted or {}

    def update(self, missing):
        self.calls.append(missing)

    def counted(self, size):
        return self._counted.get(size, 0)

    def release(self):
        self.calls.append("released")


def failed(kind, machine):
    return LaunchRequest(machine, kind, 1, LaunchRequest.Status.FAILED, 0, 1000, "")


def test_the_text_names_machines_that_start_and_the_last_reason_of_those_that_do_not():
    pending = [NodeInfo("m7i.4xlarge", "cpu", "", ""), NodeInfo("m7i.4xlarge", "cpu", "", "")]
    again = LaunchRequest("g5.2xlarge", "gpu_spot", 1, LaunchRequest.Status.PENDING, 0)
    status = ClusterStatus(pending_nodes=pending, pending_launches=[again], failed_launches=[failed("gpu_spot", "g5.2xlarge")] * 3)
    assert machines_text(status, LOG, 1001) == "2 x m7i.4xlarge are starting; g5.2xlarge: InsufficientInstanceCapacity in us-west-2a"


def test_a_reason_without_a_code_is_given_in_its_words():
    status = ClusterStatus(failed_launches=[failed("cpu_spot", "")])
    assert machines_text(status, LOG, 1001) == "cpu_spot: Quota 'CPUS' exceeded. Limit: 24.0 in region us-west1."
    assert machines_text(status, "", 1001) == "cpu_spot: it could not be started, see `ray monitor`"
    assert machines_text(ClusterStatus(), LOG, 1001) == ""


def test_machines_on_demand_have_a_name_of_their_own():
    pending, on_demand = [NodeInfo("g5.2xlarge", "gpu_on_demand", "", "")], {"gpu_on_demand": "g5.2xlarge on demand"}
    status = ClusterStatus(pending_nodes=pending, failed_launches=[failed("gpu_spot", "g5.2xlarge")])
    text = machines_text(status, LOG, 1001, on_demand)
    assert text == "1 x g5.2xlarge on demand is starting; g5.2xlarge: InsufficientInstanceCapacity in us-west-2a"


def test_a_launch_that_failed_long_ago_is_no_reason():
    assert machines_text(ClusterStatus(failed_launches=[failed("gpu_spot", "g5.2xlarge")]), LOG, 1200) == ""


def test_requests_of_other_sizes_are_not_counted():
    ours, other = ResourceRequestByCount(dict(GPU_WORKER.request), 3), ResourceRequestByCount({"CPU": 1.0}, 5)
    demand = ResourceDemandSummary(
        placement_group_demand=[PlacementGroupResourceDemand([ours], "")],
        ray_task_actor_demand=[RayTaskActorDemand([ours]), RayTaskActorDemand([other])],
    )
    assert requests_without_room(ClusterStatus(resource_demands=demand), GPU_WORKER) == 6


def test_a_short_wait_is_not_shown_and_a_long_one_once_a_minute():
    now, shown = [0.0], []
    notice = WaitNotice(shown.append, lambda: now[0])
    for second in range(200):
        now[0] = float(second)
        notice.update(lambda: "2 workers")
    assert shown == ["waiting 15 s for 2 workers", "waiting 1.2 min for 2 workers", "waiting 2.2 min for 2 workers", "waiting 3.2 min for 2 workers"]


def test_a_wait_begins_anew_after_nothing_was_missing(monkeypatch):
    counts, notices, ended = iter([2, None, 2, 0, 1]), [], threading.Event()  # None: the head does not answer

    class Notice:
        def __init__(self, show):
            notices.append([])

        def update(self, describe):
            notices[-1].append(describe())

    def missing():
        count = next(counts, "end")
        if count == "end":
            ended.set()
            return {GPU_WORKER: 9}
        return None if count is None else {GPU_WORKER: count} if count else {}

    monkeypatch.setattr(watch, "WaitNotice", Notice)
    on_demand = OnDemand()
    watch._watch(missing, print, ended, on_demand, poll_s=0.0)
    size = "with 8 CPU + 1 GPU + 8 GB each"
    assert notices == [[f"2 workers {size}"] * 2, [f"1 worker {size}"]]
    assert on_demand.calls == [{GPU_WORKER: 2}, {GPU_WORKER: 2}, "released", {GPU_WORKER: 1}, "released"]


def test_an_error_ends_the_lines_and_the_request_and_not_the_stage(caplog):
    def fail():
        raise ValueError("an unknown status")

    on_demand = OnDemand()
    watch._watch(fail, print, threading.Event(), on_demand, poll_s=0.0)
    assert "waiting for machines is no longer shown" in caplog.text and on_demand.calls == ["released"]


def test_a_head_that_fails_once_is_looked_at_again(caplog):
    found, ended = iter([RpcError("busy"), {GPU_WORKER: 1}]), threading.Event()

    class Failing(OnDemand):
        def update(self, missing):
            super().update(missing)
            ended.set()

    def missing():
        entry = next(found)
        if isinstance(entry, RpcError):
            raise entry
        return entry

    on_demand = Failing()
    watch._watch(missing, print, ended, on_demand, poll_s=0.0)
    assert on_demand.calls == [{GPU_WORKER: 1}, "released"] and "busy" in caplog.text


@pytest.mark.parametrize("initialized", [True, False])
def test_the_workers_of_all_pools_are_named(monkeypatch, initialized):
    decode, gpu = Resources(cpus=2), Resources(cpus=4, gpus=1)
    without_cpus = {name: value for name, value in gpu.request.items() if name != "CPU"}
    bundles = [ResourceRequestByCount(dict(decode.request), 3), ResourceRequestByCount(without_cpus, 2)]
    status = ClusterStatus(resource_demands=ResourceDemandSummary(ray_task_actor_demand=[RayTaskActorDemand(bundles)]))
    monkeypatch.setattr("ray.is_initialized", lambda: initialized)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr("ray.autoscaler.v2.sdk.get_cluster_status", lambda address: status)
    monkeypatch.setattr(watch, "why_no_machines", lambda: "1 x g5.2xlarge is starting")
    described, looks = [], iter([False, True])
    monkeypatch.setattr(watch, "WaitNotice", lambda show: SimpleNamespace(update=lambda describe: described.append(describe())))
    ended = SimpleNamespace(wait=lambda seconds: next(looks), is_set=lambda: False)
    on_demand = OnDemand({decode: 2})
    watch._watch(lambda: watch._missing(lambda: [decode, gpu, replace(decode, workers=3)], on_demand) or {}, print, ended, on_demand)
    text = "1 worker with 2 CPU + 1 GB each and 2 workers with 4 CPU + 1 GPU + 1 GB each: 1 x g5.2xlarge is starting"
    assert described == ([text] if initialized else [])


def test_a_head_that_does_not_answer_gives_no_status(monkeypatch):
    def fail(address):
        raise RpcError("no answer")

    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.get_runtime_context", lambda: SimpleNamespace(gcs_address="10.0.0.1:6379"))
    monkeypatch.setattr("ray.autoscaler.v2.sdk.get_cluster_status", fail)
    assert cluster_status() is None
    assert why_no_machines() == "" and not machine_types()
