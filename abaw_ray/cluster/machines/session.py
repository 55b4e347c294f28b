"""Connection to Ray: the cluster that started this process, or a local Ray started here; its log output is reduced."""

import logging
import math
import os
import secrets
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

from abaw_ray.cluster.machines import capacity, local_ray
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig, s3_environment

START_TIMEOUT_S = 120
"""Maximum time for the ranks of a training to start, in seconds; Ctrl-C is not answered before it is over. Room is reserved before, so it does not
include the start of machines. Ours."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the controller takes one report per health check, and the ranks wait until it has
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(START_TIMEOUT_S),
    "RAY_task_oom_retries": "3",  # as for other deaths of tasks; by default one that is killed for memory is started again without end
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # hides the GPUs from workers that request none; they would use them
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ray Tune's returns from ``fit`` without an error, as if all trials had ended, and keeps the next Ctrl-C too
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
"""Environment of every Ray; variables that the user has set are kept."""

_LOCAL_RAY = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_task_events": "0",
    "RAY_event_stats": "0",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}
"""Environment of a local Ray: it has no dashboard, and collecting metrics for one takes 1 % of two cores."""


class RaySession:
    """A Ray session, started when the first stage needs it: a run that finds everything done does not start it.

    A context manager: on exit it shuts down a local Ray; a cluster that it joined keeps running.
    """

    def __init__(self, compute: ComputeConfig, storage: StorageConfig | None = None) -> None:
        """Store the size of a local Ray, and the settings with which its workers access the object store."""
        self.compute, self.storage, self._started = compute, storage or StorageConfig(), False
        self._before: dict[str, str | None] = {}
        self.sizes: list[Resources] = []
        """Sizes of the workers and tasks for which the present stage has started it."""

    @property
    def shared(self) -> bool:
        """Whether Ray is a cluster that existed before this process."""
        return bool(os.environ.get("RAY_ADDRESS"))

    @property
    def size_unknown(self) -> bool:
        """Whether nodes may start that no cluster file lists, as on Kubernetes."""
        return "KUBERNETES_SERVICE_HOST" in os.environ

    def __enter__(self) -> "RaySession":
        s3 = s3_environment(self.storage)  # data sets and weights are read before Ray starts
        self._before = {name: os.environ.get(name) for name in s3}
        os.environ |= s3
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            local_ray.shutdown()
            self._started = False
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def start(self, resources: Resources | None = None, *, gang: bool = False) -> None:
        """Connect to the cluster named by ``RAY_ADDRESS`` (as in a submitted job), or start Ray in this process.

        Args:
            resources: Workers of a stage; None to connect only.
            gang: Whether all its workers must run at the same time; else one is enough.

        Raises:
            ConfigError: too few of them fit on the cluster, even after scaling up.
        """
        if not self._started:
            self._connect()
        if resources and resources not in self.sizes:
            self.sizes.append(resources)
        if self._started and resources and not self.size_unknown:
            required, fitting = self.required_workers(resources, gang=gang), capacity.max_workers(capacity.machines(), resources)
            if fitting < required:
                raise ConfigError(refusal(resources, required, fitting))

    def required_workers(self, resources: Resources, *, gang: bool) -> int:
        """Number of workers that must fit on the cluster, or a stage is refused before it begins.

        A training is refused where the cluster cannot have all its workers. On a cluster whose machines are always running, one of them may be off
        now, and the smallest number of workers is enough.

        Args:
            resources: Workers of the stage.
            gang: Whether they run at the same time.
        """
        if not gang:
            return 1
        return min(self.compute.recovery.min_workers, resources.workers) if self.shared and not capacity.autoscales() else resources.workers

    def max_workers(self, resources: Resources) -> int:
        """Number of workers of this size that fit on the cluster, after scaling up; at least 1. Call ``start`` first.

        Raises:
            ConfigError: none fits yet, and the maximum size of the cluster is unknown.
        """
        fitting = capacity.max_workers(capacity.machines(), resources)
        if not fitting and self.size_unknown:
            raise ConfigError(
                "the number of nodes that Kubernetes may start is unknown; set compute.decode.workers and compute.features.workers, or --cluster-size"
            )
        return max(fitting, 1)

    def workers(self, resources: Resources) -> int:
        """Number of workers to start: those that the user has chosen, or as many as fit. Call ``start`` first.

        On a cluster with an autoscaler at most as many as fit: requests beyond that would start on-demand machines at once.

        Raises:
            ConfigError: as ``max_workers``.
        """
        if resources.workers and (self.size_unknown or not (self.shared and capacity.autoscales())):
            return resources.workers
        fitting = self.max_workers(resources)
        return min(resources.workers or fitting, fitting)

    def sized(self, operators: Sequence[Resources]) -> list[Resources]:
        """Sizes of operators that follow each other, with their numbers of workers. Call ``start`` first.

        Raises:
            ConfigError: they do not fit on the cluster at the same time, or the maximum size of the cluster is unknown.
        """
        divided = capacity.divide(capacity.machines(), operators) if len(operators) > 1 else []
        if self.size_unknown and divided:  # machines may start for the workers that the user has chosen
            return [replace(size, workers=chosen.workers or size.workers) for size, chosen in zip(divided, operators, strict=True)]
        if len(operators) == 1 or self.size_unknown:
            return [replace(resources, workers=self.workers(resources)) for resources in operators]
        if not divided:
            sizes = " and ".join(f"{one.memory_gb:g} GB" + f" with {one.gpus:g} GPUs" * bool(one.gpus) for one in operators)
            raise ConfigError(f"the workers of this stage run at the same time, and the machines have no room for {sizes}; lower compute.*.memory-gb")
        return divided

    def _connect(self) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        local = not self.shared
        for name, value in _LOCAL_RAY.items() if local else ():
            os.environ.setdefault(name, value)
        if local and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:  # Ray reads the mode when it is imported
            # A token for this run only: without a file in the home folder, and other users of the machine cannot submit jobs to this Ray.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import ray

        if ray.is_initialized():
            return
        sigterm_handler = signal.getsignal(signal.SIGTERM)
        # On a cluster, the workers' output goes to the command's log, which is copied to the results; their machines are deleted when idle.
        logging_options = {"log_to_driver": not local, "logging_level": logging.WARNING, "configure_logging": False}
        if local:
            cpus, memory = self.compute.local_cpus or len(os.sched_getaffinity(0)), self.compute.object_store_mb * 1_000_000 or None
            local_ray.start(num_cpus=cpus, object_store_memory=memory, include_dashboard=False, **logging_options)
        else:
            ray.init(runtime_env={"env_vars": s3_environment(self.storage)}, **logging_options)
        self._started = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, sigterm_handler)  # Ray installs its own handlers, which end the process at once
        _quiet_data()


def refusal(resources: Resources, required: int, fitting: int) -> str:
    """The message for a stage whose workers do not fit on the cluster.

    Args:
        resources: Size of a worker.
        required: Workers that it needs at the same time.
        fitting: Workers that fit on the cluster.
    """
    cpus, gpus, memory_gb = resources.cpus, resources.gpus, resources.memory_gb
    amounts = [f"{value:g} {name}" for value, name in ((cpus, "CPUs"), (gpus, "GPUs"), (memory_gb, "GB of memory")) if value]
    size = " and ".join([", ".join(amounts[:-1]), amounts[-1]] if amounts[1:] else amounts)
    needed = f"{required} workers with {size} each" if required > 1 else size
    limit = f"only {fitting} fit on the cluster" if fitting else "no machine is that large"
    options = [name for name, helps in (("workers", required > 1), ("cpus", cpus > 1), ("memory-gb", True), ("gpus", gpus > 0)) if helps]
    remedy = f"lower {' or '.join(f'compute.*.{name}' for name in options)}, or set --cluster-size to the size of the cluster"
    return f"this stage needs {needed} at the same time, and {limit}; {remedy}"


def _quiet_data() -> None:
    from ray.data import DataContext
    from ray.data._internal.block_batching.iter_batches import BatchIterator

    # Every 5 s the iterators send statistics to an actor, with the metadata of all blocks: quadratic in the number of items.
    BatchIterator.UPDATE_METRICS_INTERVAL_S = math.inf
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context.max_errored_blocks = 0  # failed items are reported as rows; a lost block is a defect and must raise
    context.memory_usage_poll_interval_s = None  # an actor holds manifest rows only; its child process uses the memory
    context.op_resource_reservation_enabled = False  # divides memory and CPUs among operators, many times a second; the pools here are fixed
    # By default a job ends when no row arrives for half an hour, but one long video, or waiting for machines, can take longer. The child process
    # has its own time limit.
    context.execution_no_progress_timeout_s = -1
    # This backpressure starts no task while the expected output of running tasks exceeds what the consumer has read. Tasks of a lost machine count
    # as running, so the surviving actors would get no tasks; where those hold all CPUs, the lost actors could never restart.
    context.downstream_capacity_backpressure_ratio = None
    context.issue_detectors_config.detectors = []  # a video may take hours; the child's time limit detects hangs
