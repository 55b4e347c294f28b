"""What a cluster has room for, and what the shapes ask for."""

import os
from dataclasses import replace

import pytest
import yaml

from abaw_ray.cluster.engine.capacity import Machine, allowed, machines, workers
from abaw_ray.cluster.engine.compute import LAPTOP, compute_preset
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig

CPU, GPU = Machine({"CPU": 16.0, "memory": 64e9}, 8), Machine({"CPU": 8.0, "GPU": 1.0, "memory": 32e9}, 4)


def test_workers_without_a_gpu_are_counted_on_machines_without_one():
    assert workers([CPU, GPU], cpus=1, gpus=0) == 128
    assert workers([GPU], cpus=1, gpus=0) == 32
    assert workers([CPU, GPU], cpus=16, gpus=0) == 8


def test_a_worker_must_fit_into_one_machine():
    assert workers([CPU, GPU], cpus=4, gpus=1) == 4
    assert workers([GPU], cpus=1, gpus=0.5) == 8
    assert workers([Machine({"CPU": 1.0})], cpus=0.1, gpus=0) == 10
    assert workers([CPU, GPU], cpus=9, gpus=1) == workers([CPU, GPU], cpus=1, gpus=2) == workers([], cpus=1, gpus=0) == 0


def test_memory_bounds_where_it_is_known():
    assert workers([CPU], cpus=1, gpus=0, memory=8e9) == 64
    assert workers([replace(CPU, resources={"CPU": 16.0})], cpus=1, gpus=0, memory=8e9) == 128


def test_a_cluster_that_grows_has_room_for_what_its_file_allows_without_its_head(tmp_path):
    path = tmp_path / "ray_bootstrap_config.yaml"
    kinds = {
        "head": {"resources": {"CPU": 0}, "max_workers": 0},
        "cpu": {"resources": {"CPU": 16}, "max_workers": 80},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4},
    }
    config = {"provider": {"type": "aws"}, "max_workers": 12, "head_node_type": "head", "available_node_types": kinds}
    path.write_text(yaml.safe_dump(config))
    assert allowed(path) == [Machine({"CPU": 16}, 12), Machine({"CPU": 8, "GPU": 1}, 4)]
    path.write_text(yaml.safe_dump(config | {"provider": {"type": "local"}}))
    assert allowed(path) == allowed(tmp_path / "none") == []


def test_only_a_cluster_that_was_joined_grows_as_its_file_allows(tmp_path, monkeypatch):
    path = tmp_path / "ray_bootstrap_config.yaml"
    kinds = {"head": {"resources": {"CPU": 0}}, "cpu": {"resources": {"CPU": 16}, "max_workers": 8}}
    path.write_text(yaml.safe_dump({"provider": {"type": "aws"}, "max_workers": 12, "head_node_type": "head", "available_node_types": kinds}))
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": False, "Resources": {"CPU": 4.0}}])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert machines(path) == [Machine({"CPU": 2.0})]
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert machines(path) == [Machine({"CPU": 16}, 8)]


def test_a_stores_endpoint_is_known_before_ray_is_there_and_forgotten_afterwards(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with RaySession(LAPTOP, StorageConfig(endpoint="http://127.0.0.1:1", region="eu-north-1")):
        assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_shapes_ask_for_what_their_names_say():
    assert compute_preset("laptop") == LAPTOP
    eight, gpus = compute_preset("cpu-8"), compute_preset("gpu-4x2")
    assert (eight.cpus, eight.train_workers, eight.trials, eight.gpus_per_worker) == (8, 8, 8, 0)
    assert compute_preset("cpu-6").train_workers == 4, "a global batch is divided by a power of two"
    assert (gpus.train_workers, gpus.gpus_per_worker, gpus.feature_workers, gpus.feature_gpus, gpus.trials) == (8, 1.0, 8, 1.0, 16)
    assert gpus.object_store_mb == 0, "all features of a large data set pass through it"
    assert gpus.cpus_per_worker == gpus.feature_cpus == 4, "most of them read ahead of the GPU"


@pytest.mark.parametrize("name", ["gpu-4", "cpu-0", "cpu-", "tpu-8", "gpu-0x1", "laptop2", ""])
def test_a_word_that_is_no_shape_is_refused(name):
    with pytest.raises(ConfigError, match="no shape; say laptop"):
        compute_preset(name)


def test_what_there_is_no_room_for_is_refused_with_what_would_help(monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.engine.capacity.machines", lambda: [Machine({"CPU": 2.0, "GPU": 1.0, "memory": 4e9})])
    engine = RaySession(LAPTOP)
    monkeypatch.setattr(engine, "_started", True)
    engine.start(cpus=2, gpus=1, memory_gb=3)
    with pytest.raises(ConfigError, match=r"needs 4 CPUs and 1 GPUs .* no machine here has as much; give fewer compute\.cpus-per-worker"):
        engine.start(cpus=4, gpus=1)
    with pytest.raises(ConfigError, match=r"needs 1 CPUs and 8 GB of memory .* less compute\.item-memory-gb"):
        engine.start(cpus=1, memory_gb=8)
    with pytest.raises(ConfigError, match=r"3 workers with 1 CPUs each .* room for 2 such; give fewer compute\.train-workers"):
        engine.start(workers=3, cpus=1)
    monkeypatch.setattr(engine, "_started", False)


def test_workers_are_not_guessed_where_nobody_knows_how_many_machines_may_come(monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.engine.capacity.machines", lambda: [Machine({"CPU": 0.0})])
    assert RaySession(LAPTOP).fits(cpus=1, gpus=0) == 1
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    with pytest.raises(ConfigError, match=r"give compute\.item-workers"):
        RaySession(LAPTOP).fits(cpus=1, gpus=0)


@pytest.mark.parametrize(
    "wrong", [{"feature_cpus": 0}, {"item_memory_gb": -1}, {"preemption_poll_s": -1}, {"gpus_per_trial": -0.5}, {"object_store_mb": 20}]
)
def test_sizes_of_workers_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        replace(LAPTOP, **wrong)
