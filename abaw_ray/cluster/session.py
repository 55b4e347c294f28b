"""A Ray to run on: the cluster that started us, or a small one of our own in this process; its noise goes to a log file."""

import logging
import os
import secrets
import sys
import warnings
from pathlib import Path

from abaw_ray.cluster.compute import Compute

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
_LOGGERS = ("ray", "ray.data", "ray.train", "ray.tune", "deepspeed", "DeepSpeed", "torch.distributed", "optuna", "py.warnings")


class Engine:
    """Ray, started when the first stage needs it and not before: a run that finds everything done never waits for it.

    Used as a context: on leaving it, what was started here is ended; a cluster that was there already goes on.
    """

    def __init__(self, compute: Compute, log: Path) -> None:
        """Take the size of a Ray that is started here, and the file for what Ray, DeepSpeed and the libraries print."""
        self.compute, self.log, self._started = compute, log, False

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._started:
            import ray

            ray.shutdown()
            self._started = False

    def start(self) -> None:
        """Connect to the cluster named by ``RAY_ADDRESS`` (as in a submitted job), else start a Ray in this process."""
        if self._started:
            return
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        own = not os.environ.get("RAY_ADDRESS")
        if own and "RAY_AUTH_MODE" not in os.environ and "ray" not in sys.modules:  # Ray reads the mode when it is imported
            # A secret of this run alone: no token file in the home folder, and nobody else on the machine can submit to it.
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        _log_to(self.log)
        import ray

        if ray.is_initialized():
            return
        quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
        if own:
            store = self.compute.object_store_mb * 1_000_000
            ray.init(address="local", num_cpus=self.compute.cpus, object_store_memory=store, include_dashboard=False, **quiet)
        else:
            ray.init(**quiet)
        self._started = True
        _quiet_data()


def _log_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    logging.getLogger("abaw_ray").addHandler(handler)


def _quiet_data() -> None:
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0  # errors are rows of ours; a lost block is a defect and must show
