"""A Ray to run on: the cluster that started us, or a small one of our own in this process; its noise is kept low."""

import logging
import os
import secrets
import signal
import sys
import threading

from abaw_ray.cluster.engine import capacity as room
from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig, s3_environment

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # the controller takes one report a poll, and the ranks wait for it
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # who was given no GPU sees none, and so takes none
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
"""For a Ray that is started here: it has no dashboard, and what Ray would gather for one takes a hundredth of two cores."""


class RaySession:
    """Ray, started when the first stage needs it and not before: a run that finds everything done never waits for it.

    Used as a context: on leaving it, what was started here is ended; a cluster that was there already goes on.
    """

    def __init__(self, compute: ComputeConfig, storage: StorageConfig | None = None) -> None:
        """Take the size of a Ray that is started here, and how its workers reach the object store."""
        self.compute, self.storage, self._started = compute, storage or StorageConfig(), False
        self._before: dict[str, str | None] = {}

    @property
    def shared(self) -> bool:
        """Whether the Ray is a cluster that was there before us."""
        return bool(os.environ.get("RAY_ADDRESS"))

    @property
    def grows_unseen(self) -> bool:
        """Whether machines may come of which no file tells a driver, as on Kubernetes."""
        return "KUBERNETES_SERVICE_HOST" in os.environ

    def __enter__(self) -> "RaySession":
        store = s3_environment(self.storage)  # also for what is read before Ray is there: data sets, weights
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

    def start(self, *, workers: int = 1, cpus: float = 0, gpus: float = 0, memory_gb: float = 0) -> None:
        """Connect to the cluster named by ``RAY_ADDRESS`` (as in a submitted job), else start a Ray in this process.

        Args:
            workers: Of the size given next, what the stage needs at the same time, or it cannot run at all.
            cpus: Of a worker.
            gpus: Of a worker.
            memory_gb: Of a worker.

        Raises:
            ConfigError: there will never be room for as many.
        """
        if not self._started:
            self._connect()
        if self._started and (cpus or gpus) and not self.grows_unseen:
            there = room.workers(room.machines(), cpus=cpus, gpus=gpus, memory=memory_gb * 2**30)
            if there < workers:
                raise ConfigError(refusal(workers, there, cpus=cpus, gpus=gpus, memory_gb=memory_gb))

    def fits(self, *, cpus: float, gpus: float, memory_gb: float = 0) -> int:
        """How many workers of this size there is or will be room for, at least 1; call ``start`` first.

        Raises:
            ConfigError: there is no room yet, and nobody can know how much will come.
        """
        found = room.workers(room.machines(), cpus=cpus, gpus=gpus, memory=memory_gb * 2**30)
        if not found and self.grows_unseen:
            raise ConfigError(
                "Kubernetes does not say how many machines may come; give compute.item-workers and compute.feature-workers, or with --on what it has"
            )
        return max(found, 1)

    def _connect(self) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        own = not self.shared
        for name, value in _ALONE.items() if own else ():
            os.environ.setdefault(name, value)
        if own and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:  # Ray reads the mode when it is imported
            # A secret of this run alone: no token file in the home folder, and nobody else on the machine can submit to it.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import ray

        if ray.is_initialized():
            return
        terminate = signal.getsignal(signal.SIGTERM)
        quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
        if own:
            cpus, memory = self.compute.cpus or len(os.sched_getaffinity(0)), self.compute.object_store_mb * 1_000_000 or None
            ray.init(address="local", num_cpus=cpus, object_store_memory=memory, include_dashboard=False, **quiet)
        else:
            ray.init(runtime_env={"env_vars": s3_environment(self.storage)}, **quiet)
        self._started = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray puts its own in place, which ends the process on the spot
        _quiet_data()


def refusal(workers: int, there: int, *, cpus: float, gpus: float, memory_gb: float = 0) -> str:
    """What is said of a stage that would wait for ever."""
    asked = [f"{value:g} {name}" for value, name in ((cpus, "CPUs"), (gpus, "GPUs"), (memory_gb, "GB of memory")) if value]
    each = " and ".join([", ".join(asked[:-1]), asked[-1]] if asked[1:] else asked)
    many = f"{workers} workers with {each} each" if workers > 1 else each
    has = f"there is room for {there} such" if there else "no machine here has as much"
    how = ["fewer compute.train-workers"] if workers > 1 else []
    how += ["fewer compute.cpus-per-worker, feature-cpus or cpus-per-trial"] if cpus > 1 else []
    how += ["less compute.item-memory-gb, feature-memory-gb, train-memory-gb or trial-memory-gb"] if memory_gb else []
    how += ["0 as compute.gpus-per-worker, feature-gpus and gpus-per-trial to run without"] if gpus else []
    return f"this stage needs {many} at the same time and {has}; give {', '.join([*how, 'or with --on what there is'])}"


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context.max_errored_blocks = 0  # errors are rows of ours; a lost block is a defect and must show
    context.memory_usage_poll_interval_s = None  # an actor of ours holds rows of a manifest; what is heavy is in its child
    context.op_resource_reservation_enabled = False  # divides memory and CPUs among operators, many times a second; ours have one
    # Holds tasks back while those that were begun may return more than the consumer has in hand. Ours return a row each; but as long as some
    # were begun on a machine that is lost, it lets the others begin none, and where these have all CPUs, the lost ones never come back.
    context.downstream_capacity_backpressure_ratio = None
    context.issue_detectors_config.detectors = []  # a video may take hours: what hangs is for the child's time limit to say
