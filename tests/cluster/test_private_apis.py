"""The private interfaces of Ray and DeepSpeed that this package depends on; a failure here means that a new version changed one."""

import inspect
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pyarrow.fs
import pytest
import ray
import ray.train
import ray.train.v2._internal.execution.context as train_context
from ray.autoscaler.v2.instance_manager import node_provider
from ray.autoscaler.v2.schema import ClusterStatus, LaunchRequest, NodeInfo, ResourceDemandSummary
from ray.autoscaler.v2.sdk import get_cluster_status
from ray.exceptions import ActorDiedError, OutOfMemoryError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerGroupStartupTimeoutError, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.storage import StorageContext
from ray.train.v2.api.context import TrainContext
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.training.ray_private import checkpoint_in_storage, failure_kind, killed_rank, quiet_report_logger, worker_error, worker_message
from abaw_ray.core.errors import DataError


def test_the_logger_of_ray_trains_reports_is_named_by_its_file():
    assert train_context.logger.name == train_context.__file__
    level = train_context.logger.level
    quiet_report_logger()
    assert train_context.logger.level == logging.WARNING
    train_context.logger.setLevel(level)


def test_ray_trains_context_gives_its_storage_and_storage_gives_paths_of_checkpoints(tmp_path, monkeypatch):
    assert callable(TrainContext.get_storage)
    storage = StorageContext(storage_path=str(tmp_path), experiment_dir_name="run")
    monkeypatch.setattr("ray.train.get_context", lambda: SimpleNamespace(get_storage=lambda: storage))
    checkpoint = checkpoint_in_storage("checkpoint_1")
    assert checkpoint.path == str(tmp_path / "run" / "checkpoint_1")
    assert isinstance(checkpoint.filesystem, pyarrow.fs.FileSystem)


def test_the_error_of_ray_train_contains_the_error_that_a_worker_raised():
    cause = DataError("images: the set is empty")
    error = WorkerGroupError("one worker", {1: UserExceptionWithTraceback(cause, traceback_str="line one\nlast line\n")})
    assert worker_error(error) is cause
    assert worker_message(error) == "last line"


def test_an_error_of_ray_train_without_workers_is_used_unchanged():
    error = ray.train.TrainingFailedError("the controller failed")
    assert worker_error(error) is error
    assert worker_message(error) == "the controller failed"


def test_the_death_of_a_worker_is_shown_rather_than_the_connections_that_it_broke():
    broken = UserExceptionWithTraceback(RuntimeError("Connection reset by peer"), traceback_str="Connection reset by peer")
    died = WorkerHealthCheckFailedError("a worker is not healthy", ActorDiedError())
    error = WorkerGroupError("two workers", {0: broken, 1: died})
    assert worker_error(error) is died
    assert worker_message(error) == "rank 1 was lost: its process ended, or its machine"


def test_a_rank_that_is_killed_for_memory_is_found_with_rays_message():
    broken = UserExceptionWithTraceback(RuntimeError("Connection reset by peer"), traceback_str="Connection reset by peer")
    killed = WorkerHealthCheckFailedError("a worker is not healthy", OutOfMemoryError("Task was killed due to the node running low on memory."))
    assert killed_rank(WorkerGroupError("two workers", {0: broken, 1: killed})) == (1, "Task was killed due to the node running low on memory.")
    assert killed_rank(WorkerGroupError("two workers", {0: broken, 1: WorkerHealthCheckFailedError("", ActorDiedError())})) is None


def test_the_kinds_of_failures_are_told_apart():
    preempted = ActorDiedError()
    preempted._preempted = True
    assert preempted.preempted, "the attribute has another name"
    info = ray.train.PreemptionInfo(deadline_ms=1, preempted_node_to_ranks={"node": [0]})
    kinds = {
        ControllerError(WorkerGroupStartupTimeoutError(2)): "not started",
        ControllerError(RuntimeError("broken")): "failed",
        ray.train.PreemptionError(info): "preempted",
        WorkerGroupError("", {0: ValueError(), 1: WorkerHealthCheckFailedError("", preempted)}): "preempted",
        WorkerGroupError("", {0: WorkerHealthCheckFailedError("", ActorDiedError())}): "failed",
    }
    assert [failure_kind(error) for error in kinds] == list(kinds.values())


def test_the_state_of_the_autoscaler_has_the_fields_that_are_read():
    fields = {
        ClusterStatus: {"pending_nodes", "pending_launches", "failed_launches", "resource_demands"},
        LaunchRequest: {"ray_node_type_name", "instance_type_name", "count", "failed_ts_s"},
        NodeInfo: {"ray_node_type_name", "instance_type_name"},
        ResourceDemandSummary: {"ray_task_actor_demand", "placement_group_demand"},
    }
    for kind, names in fields.items():
        assert names <= set(kind.__dataclass_fields__), kind.__name__
    assert list(inspect.signature(get_cluster_status).parameters)[:1] == ["gcs_address"]
    assert "Failed to launch {} nodes of type {}: {}" in inspect.getsource(node_provider), "the log of the autoscaler has other words"


def run_python(code):
    """Run code in a new process on a CPU, because DeepSpeed reads its environment on import; returns the last printed line."""
    environment = {**os.environ, "DS_ACCELERATOR": "cpu", "LOCAL_SIZE": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.split("\n")[-2]


def test_deepspeed_looks_up_shared_memory_collectives_where_they_are_disabled():
    code = """
import sys
from abaw_ray.cluster.training.ranks.deepspeed_private import disable_shared_memory_collectives
disable_shared_memory_collectives()
import deepspeed.comm.torch
from deepspeed.accelerator import get_accelerator
name = get_accelerator().create_op_builder("ShareMemCommBuilder").NAME
lookups = []
class Recorded(dict):
    def get(self, key, default=None):
        lookups.append(key)
        return super().get(key, default)
deepspeed.ops.__compatible_ops__ = Recorded(deepspeed.ops.__compatible_ops__)
print(sys.modules["deepspeed.comm.torch"].build_shm_op(), lookups == [name], deepspeed.ops.__compatible_ops__[name])
"""
    assert run_python(code) == "None True False"


def test_the_conversion_to_universal_checkpoints_takes_the_arguments_that_are_given():
    code = """
import inspect, re
from abaw_ray.cluster.training.ranks import deepspeed_private
from deepspeed.checkpoint import ds_to_universal
needed = set(re.findall(r"args\\.(\\w+)", inspect.getsource(ds_to_universal)))
given = set(re.findall(r"^ {8}(\\w+)=", inspect.getsource(deepspeed_private.convert_to_universal), re.M))
print(sorted(needed ^ given), list(inspect.signature(ds_to_universal.main).parameters))
"""
    assert run_python(code) == "[] ['args']"


@pytest.mark.parametrize("name", ["path", "filesystem"])
def test_a_ray_checkpoint_is_made_of_a_path_and_a_filesystem(name):
    assert name in inspect.signature(ray.train.Checkpoint).parameters


@pytest.mark.slow
def test_the_processes_of_a_local_ray_have_ended_after_the_session():
    from ray._private import worker

    with RaySession(ComputeConfig(local_cpus=1, object_store_mb=80)) as session:
        session.start()
        processes = [one.process for group in worker._global_node.all_processes.values() for one in group]
        assert len(processes) > 2 and all(process.poll() is None for process in processes)
    assert all(process.returncode is not None for process in processes)


def test_ray_data_sends_no_statistics_of_the_blocks_while_they_are_read(monkeypatch):
    from ray.data._internal.block_batching import iter_batches

    sent = []
    monkeypatch.setattr(iter_batches.BatchIterator, "UPDATE_METRICS_INTERVAL_S", -1.0)
    monkeypatch.setattr(iter_batches._StatsManager, "update_iteration_metrics", lambda *args: sent.append(args))
    with RaySession(ComputeConfig(object_store_mb=80)) as session:
        session.start()
        assert list(ray.data.from_items(range(20), override_num_blocks=20).iter_rows())
        assert len(sent) <= 2, "at the end alone"
        iter_batches.BatchIterator.UPDATE_METRICS_INTERVAL_S = -1.0
        assert list(ray.data.from_items(range(20), override_num_blocks=20).iter_rows())
        assert len(sent) >= 20, "the interval is what decides"
