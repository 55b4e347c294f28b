"""The Ray that stages run on: the cluster that started this process, or a small one started here; its log output is reduced."""

import logging
import os
import secrets
import signal
import sys
import threading

from abaw_ray.cluster.engine import capacity
from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig, s3_environment

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the controller takes one report per poll, and the ranks wait for it
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a worker without a GPU must not see one, or it would use it
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}

_ALONE = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_task_events": "0",
    "RAY_event_stats": "0",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}
"""For a Ray that is started here: it has no dashboard, and collecting metrics for one takes a hundredth of two cores."""


class RaySession:
    """Ray, started when the first stage needs it: a run that finds everything done never waits for it.

    A context manager: on exit it shuts down what it started; a cluster that it joined stays up.
    """

    def __init__(self, compute: ComputeConfig, storage: StorageConfig | None = None) -> None:
        """Take the size of a Ray that is started here, and the access of its workers to the object store."""
        self.compute, self.storage, self._started = compute, storage or StorageConfig(), False
        self._before: dict[str, str | None] = {}

    @property
    def shared(self) -> bool:
        """Whether Ray is a cluster that existed before this process."""
        return bool(os.environ.get("RAY_ADDRESS"))

    @property
    def grows_unseen(self) -> bool:
        """Whether machines may start that no file announces to the driver, as on Kubernetes."""
        return "KUBERNETES_SERVICE_HOST" in os.environ

    def __enter__(self) -> "RaySession":
        store = s3_environment(self.storage)  # also for what is read before Ray starts: data sets, weights
        self._before = {name: os.environ.get(name) for name in store}
        os.environ |= store
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            import ray

            ray.shutdown()
            self._started = False
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def start(self, resources: Resources | None = None, *, gang: bool = False) -> None:
        """Connect to the cluster named by ``RAY_ADDRESS`` (as in a submitted job), or start Ray in this process.

        Args:
            resources: What a stage needs; None to connect only.
            gang: Whether all its workers must run at the same time; else one is enough.

        Raises:
            ConfigError: the cluster will never have room for as many.
        """
        if not self._started:
            self._connect()
        if self._started and resources and not self.grows_unseen:
            least, found = resources.workers if gang else 1, capacity.max_workers(capacity.machines(), resources)
            if found < least:
                raise ConfigError(refusal(resources, least, found))

    def max_workers(self, resources: Resources) -> int:
        """How many workers of this size the cluster has or will have room for, at least 1; call ``start`` first.

        Raises:
            ConfigError: there is no room yet, and the driver cannot know how much will come.
        """
        found = capacity.max_workers(capacity.machines(), resources)
        if not found and self.grows_unseen:
            raise ConfigError(
                "Kubernetes does not tell how many machines may start; set compute.decode.workers and compute.features.workers, or --cluster-size"
            )
        return max(found, 1)

    def _connect(self) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        own = not self.shared
        for name, value in _ALONE.items() if own else ():
            os.environ.setdefault(name, value)
        if own and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:  # Ray reads the mode when it is imported
            # A secret of this run alone: no token file in the home folder, and no other user of the machine can submit to it.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import ray

        if ray.is_initialized():
            return
        terminate = signal.getsignal(signal.SIGTERM)
        quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
        if own:
            cpus, memory = self.compute.local_cpus or len(os.sched_getaffinity(0)), self.compute.object_store_mb * 1_000_000 or None
            ray.init(address="local", num_cpus=cpus, object_store_memory=memory, include_dashboard=False, **quiet)
        else:
            ray.init(runtime_env={"env_vars": s3_environment(self.storage)}, **quiet)
        self._started = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray puts its own in place, which ends the process on the spot
        _quiet_data()


def refusal(resources: Resources, least: int, found: int) -> str:
    """The message for a stage that would wait forever.

    Args:
        resources: What it requests.
        least: Workers that it needs at the same time.
        found: Workers that the cluster has room for.
    """
    cpus, gpus, memory_gb = resources.cpus, resources.gpus, resources.memory_gb
    asked = [f"{value:g} {name}" for value, name in ((cpus, "CPUs"), (gpus, "GPUs"), (memory_gb, "GB of memory")) if value]
    each = " and ".join([", ".join(asked[:-1]), asked[-1]] if asked[1:] else asked)
    many = f"{least} workers with {each} each" if least > 1 else each
    room = f"there is room for {found} such" if found else "no machine here has as much"
    options = [name for name, wanted in (("workers", least > 1), ("cpus", cpus > 1), ("memory-gb", True), ("gpus", gpus > 0)) if wanted]
    how = f"lower {' or '.join(f'compute.*.{name}' for name in options)}, or set --cluster-size to what there is"
    return f"this stage needs {many} at the same time and {room}; {how}"


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context.max_errored_blocks = 0  # failed items are rows of ours; a lost block is a defect and must show
    context.memory_usage_poll_interval_s = None  # an actor of ours holds rows of a manifest; what needs memory is in its child
    context.op_resource_reservation_enabled = False  # divides memory and CPUs among operators, many times a second; ours have fixed pools
    # Ends a job when no row arrives for half an hour, which one long video, or waiting for machines, exceeds. Limits on the work itself are in the
    # child process.
    context.execution_no_progress_timeout_s = -1
    # Holds tasks back while started ones may return more than the consumer has in hand. Ours return a row each; but while some of them were
    # started on a machine that is lost, the others would start none, and where these have all CPUs, the lost ones never restart.
    context.downstream_capacity_backpressure_ratio = None
    context.issue_detectors_config.detectors = []  # a video may take hours; hangs are detected by the child's time limit
