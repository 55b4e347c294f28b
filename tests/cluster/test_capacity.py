"""Number of workers that fit on a cluster, and sizes of the compute presets."""

import os
from dataclasses import replace

import pytest
import yaml

from abaw_ray.cluster.machines import capacity
from abaw_ray.cluster.machines.capacity import Machine, allowed, divide, machines, max_workers, on_demand_machines, on_demand_types
from abaw_ray.cluster.machines.compute import LAPTOP, ComputeConfig, compute_preset
from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.units import gib

CPU, GPU = Machine({"CPU": 16.0, "memory": 64e9}, 8), Machine({"CPU": 8.0, "GPU": 1.0, "memory": 32e9}, 4)


def workers(machines, **size):
    return max_workers(machines, Resources(**{"memory_gb": 1e-9} | size))


def test_workers_without_a_gpu_are_counted_on_machines_without_one():
    assert workers([CPU, GPU], cpus=1) == 128
    assert workers([GPU], cpus=1) == 32
    assert workers([CPU, GPU], cpus=16) == 8


def test_a_worker_must_fit_into_one_machine():
    assert workers([CPU, GPU], cpus=4, gpus=1) == 4
    assert workers([GPU], cpus=1, gpus=0.5) == 8
    assert workers([Machine({"CPU": 1.0})], cpus=0.1) == 10
    assert workers([CPU, GPU], cpus=9, gpus=1) == workers([CPU, GPU], cpus=1, gpus=2) == workers([], cpus=1) == 0


def divided(machines, *operators):
    """CPUs and number of workers of each operator."""
    sizes = divide(machines, [Resources(**{"memory_gb": 1e-9} | operator) for operator in operators])
    return [(size.cpus, size.workers) for size in sizes]


def test_operators_that_follow_each_other_run_at_the_same_time():
    decode, encode = {}, {"cpus": 4, "gpus": 1}
    assert divided([CPU, GPU], decode, encode) == [(1, 144), (0, 4)], "also on the CPUs of the GPU machines that are left"
    assert divided([GPU], decode, encode) == [(1, 16), (0, 4)], "without the CPUs that the GPU workers need"
    assert divided([GPU], {"workers": 3}, encode | {"workers": 2}) == [(1, 3), (0, 2)]
    assert divided([Machine({"CPU": 2.0, "GPU": 1.0})], {"workers": 9}, {"gpus": 1}) == [(1, 1), (0, 1)]
    assert divided([Machine({"CPU": 4.0})], {}, {}) == [(1, 2), (0, 2)], "without GPUs they share the CPUs"


def test_operators_share_a_cpu_where_there_are_too_few():
    decode, encode = {}, {"cpus": 4, "gpus": 1}
    assert divided([Machine({"CPU": 4.0, "GPU": 1.0})], decode, encode) == [(1, 1), (0, 1)]
    assert divided([Machine({"CPU": 1.0, "GPU": 1.0})], decode, {"gpus": 1}) == [(1, 1), (0, 1)]
    assert divided([Machine({"CPU": 8.0})], decode, encode) == [], "no CPU replaces a GPU"


def test_a_chain_that_can_never_run_is_refused(monkeypatch):
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "memory": gib(5)}}])
    session, encode = RaySession(LAPTOP), Resources(gpus=1, memory_gb=4)
    assert [size.workers for size in session.sized([Resources(memory_gb=1), encode])] == [1, 1]
    with pytest.raises(ConfigError, match=r"no room for 2 GB and 4 GB with 1 GPUs; lower compute\.\*\.memory-gb"):
        session.sized([Resources(memory_gb=2), encode])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    sizes = session.sized([Resources(memory_gb=1), replace(encode, workers=3)])
    assert [size.workers for size in sizes] == [1, 3], "machines may start for the workers that were asked for"


def test_memory_is_a_limit_where_it_is_known():
    assert workers([CPU], cpus=1, memory_gb=8e9 / gib(1)) == 64
    assert workers([replace(CPU, resources={"CPU": 16.0})], cpus=1, memory_gb=8e9 / gib(1)) == 128


def test_an_autoscaling_cluster_holds_the_nodes_that_its_file_allows_without_the_head(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    node_types = {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 16}, "max_workers": 80},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4},
    }
    config = {"provider": {"type": "aws"}, "max_workers": 12, "head_node_type": "head", "available_node_types": node_types}
    path.write_text(yaml.safe_dump(config))
    assert allowed(path) == [Machine({"CPU": 16}, 12), Machine({"CPU": 8, "GPU": 1}, 4)]
    path.write_text(yaml.safe_dump(config | {"provider": {"type": "local"}}))
    assert allowed(path) == allowed(tmp_path / "none") == []


def test_the_cluster_file_is_used_only_by_a_job_inside_the_cluster(tmp_path, monkeypatch):
    path = tmp_path / "ray_bootstrap_config.yaml"
    node_types = {"head": {"resources": {"CPU": 0}}, "cpu": {"resources": {"CPU": 16}, "max_workers": 8}}
    path.write_text(yaml.safe_dump({"provider": {"type": "aws"}, "max_workers": 12, "head_node_type": "head", "available_node_types": node_types}))
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 4.0}}])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert machines(path) == [Machine({"CPU": 2.0})]
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert machines(path) == [Machine({"CPU": 16}, 8)]


def write_cluster_file(path):
    on_demand = {
        "resources": {"CPU": 8, "GPU": 1},
        "max_workers": 2,
        "labels": {"abaw-pool": "on-demand"},
        "node_config": {"InstanceType": "g5.2xlarge"},
    }
    spot = {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4, "labels": {"abaw-pool": "gpu"}, "node_config": {"InstanceType": "g5.2xlarge"}}
    types = {"head": {"resources": {"CPU": 0}}, "gpu_spot": spot, "gpu_on_demand": on_demand}
    path.write_text(yaml.safe_dump({"provider": {"type": "aws"}, "max_workers": 12, "head_node_type": "head", "available_node_types": types}))
    return path


def test_on_demand_machines_replace_others_and_are_not_counted_beside_them(tmp_path, monkeypatch):
    path = write_cluster_file(tmp_path / "cluster.yaml")
    assert allowed(path) == [Machine({"CPU": 8, "GPU": 1}, 4, "g5.2xlarge")]
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert on_demand_machines(path) == {}, "a local Ray starts no machines"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert on_demand_machines(path) == {"gpu_on_demand": Machine({"CPU": 8, "GPU": 1}, 2, "g5.2xlarge")}
    assert on_demand_types(path) == {"gpu_on_demand": "g5.2xlarge on demand"}
    assert on_demand_types(tmp_path / "none") == {} and on_demand_machines(tmp_path / "none") == {}


def test_on_an_autoscaling_cluster_no_more_workers_are_started_than_spot_machines_have_room_for(tmp_path, monkeypatch):
    path, chosen = write_cluster_file(tmp_path / "cluster.yaml"), Resources(workers=9, cpus=4, gpus=1)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0, "memory": gib(5)}}])
    monkeypatch.setattr(capacity, "allowed", lambda _: allowed(path))
    session = RaySession(LAPTOP)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert session.workers(chosen) == 9, "a local Ray starts no machines: they wait"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert [session.workers(one) for one in (chosen, replace(chosen, workers=3), replace(chosen, workers=0))] == [4, 3, 4]
    assert [size.workers for size in session.sized([chosen])] == [4]


def test_the_endpoint_of_the_store_is_in_the_environment_before_ray_starts_and_removed_after_the_session(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with RaySession(LAPTOP, StorageConfig(endpoint="http://127.0.0.1:1", region="eu-north-1")):
        assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_compute_presets_have_the_sizes_in_their_names():
    assert compute_preset("laptop") == LAPTOP
    eight, gpus = compute_preset("cpu-8"), compute_preset("gpu-4x2")
    assert (eight.local_cpus, eight.training.workers, eight.fusion.workers, eight.training.gpus) == (8, 8, 8, 0)
    assert compute_preset("cpu-6").training.workers == 4, "a global batch is divided by a power of two"
    assert (gpus.training.workers, gpus.training.gpus, gpus.features.workers, gpus.features.gpus, gpus.fusion.workers) == (8, 1.0, 8, 1.0, 16)
    assert gpus.object_store_mb == 0, "all features of a large data set pass through it"
    assert gpus.training.cpus == gpus.features.cpus == 4, "most of them prefetch for the GPU"


@pytest.mark.parametrize("name", ["gpu-4", "cpu-0", "cpu-", "tpu-8", "gpu-0x1", "laptop2", ""])
def test_an_unknown_cluster_size_is_refused(name):
    with pytest.raises(ConfigError, match="is unknown; choose laptop"):
        compute_preset(name)


def test_resources_that_do_not_fit_are_refused_with_the_setting_to_lower(monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 2.0, "GPU": 1.0, "memory": 4e9})])
    session = RaySession(LAPTOP)
    monkeypatch.setattr(session, "_started", True)
    session.start(Resources(cpus=2, gpus=1, memory_gb=3))
    with pytest.raises(ConfigError, match=r"needs 4 CPUs, 1 GPUs and .* no machine is that large; lower compute\.\*\.cpus or "):
        session.start(Resources(cpus=4, gpus=1))
    with pytest.raises(ConfigError, match=r"needs 1 CPUs and 8 GB of memory .* lower compute\.\*\.memory-gb"):
        session.start(Resources(memory_gb=8))
    with pytest.raises(ConfigError, match=r"3 workers with 1 CPUs and 1 GB of memory each .* only 2 fit on the cluster; lower compute\.\*\.workers"):
        session.start(Resources(workers=3), gang=True)
    monkeypatch.setattr(session, "_started", False)


def test_a_training_may_begin_while_a_machine_of_a_cluster_without_autoscaler_is_off(monkeypatch):
    session = RaySession(ComputeConfig(recovery=RecoveryConfig(min_workers=2)))
    assert session.required_workers(Resources(workers=4), gang=True) == 4, "the machines of a Ray of this process do not change"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert session.required_workers(Resources(workers=4), gang=True) == 2
    assert session.required_workers(Resources(workers=1), gang=True) == 1
    assert session.required_workers(Resources(workers=4), gang=False) == 1
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.allowed", lambda path: [Machine({"CPU": 8.0})])
    assert session.required_workers(Resources(workers=4), gang=True) == 4, "the autoscaler's limits are known"


def test_the_number_of_workers_is_not_guessed_where_the_autoscaler_limit_is_unknown(monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 0.0})])
    assert RaySession(LAPTOP).max_workers(Resources()) == 1
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(ConfigError, match=r"set compute\.decode\.workers"):
        RaySession(LAPTOP).max_workers(Resources())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"features": Resources(cpus=0)}, r"compute\.features\.cpus=0 must be above 0"),
        ({"decode": Resources(memory_gb=-1)}, r"compute\.decode\.memory_gb=-1 must be above 0"),
        ({"fusion": Resources(workers=0)}, r"compute\.fusion\.workers=0 must be at least 1"),
        ({"fusion": Resources(workers=1, gpus=-0.5)}, r"compute\.fusion\.gpus=-0\.5 must be 0 or more"),
        ({"preemption_poll_s": -1}, r"compute\.preemption_poll_s=-1"),
        ({"object_store_mb": 20}, r"compute\.object_store_mb=20"),
    ],
)
def test_invalid_sizes_of_workers_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        replace(LAPTOP, **wrong)
