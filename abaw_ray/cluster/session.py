"""A Ray to run on: the cluster that started us, or a small one of our own in this process; its noise is kept low."""

import logging
import os
import secrets
import sys

from abaw_ray.cluster.compute import Compute
from abaw_ray.core.storage import StorageConfig, environment

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


class Engine:
    """Ray, started when the first stage needs it and not before: a run that finds everything done never waits for it.

    Used as a context: on leaving it, what was started here is ended; a cluster that was there already goes on.
    """

    def __init__(self, compute: Compute, storage: StorageConfig | None = None) -> None:
        """Take the size of a Ray that is started here, and how its workers reach the object store."""
        self.compute, self.storage, self._started = compute, storage or StorageConfig(), False
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> "Engine":
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

    def start(self) -> None:
        """Connect to the cluster named by ``RAY_ADDRESS`` (as in a submitted job), else start a Ray in this process."""
        if self._started:
            return
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        store = environment(self.storage)
        self._before = {name: os.environ.get(name) for name in store}
        os.environ |= store
        own = not os.environ.get("RAY_ADDRESS")
        if own and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:  # Ray reads the mode when it is imported
            # A secret of this run alone: no token file in the home folder, and nobody else on the machine can submit to it.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        import ray

        if ray.is_initialized():
            return
        quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
        if own:
            memory = self.compute.object_store_mb * 1_000_000
            ray.init(address="local", num_cpus=self.compute.cpus, object_store_memory=memory, include_dashboard=False, **quiet)
        else:
            ray.init(runtime_env={"env_vars": store}, **quiet)
        self._started = True
        _quiet_data()


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context.max_errored_blocks = 0  # errors are rows of ours; a lost block is a defect and must show
