"""A Ray to run on: the cluster that started us, or a small one of our own in this process; its noise goes to a log file."""

import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaw_ray.cluster.compute import Compute

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}
_LOGGERS = ("ray", "ray.data", "ray.train", "ray.tune", "ray.rllib", "deepspeed", "DeepSpeed", "torch.distributed", "optuna", "py.warnings")


@contextmanager
def session(compute: Compute, log: Path) -> Iterator[None]:
    """Connect to the cluster named by ``RAY_ADDRESS`` (as in a submitted job), else start a Ray in this process and end it afterwards.

    Args:
        compute: Size of a Ray that is started here.
        log: File that takes what Ray, DeepSpeed and the libraries print.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    own = not os.environ.get("RAY_ADDRESS")
    if own and "RAY_AUTH_MODE" not in os.environ:
        # A secret of this run alone: no token file in the home folder, and nobody else on the machine can submit to it.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    _log_to(log)
    import ray

    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
    if own:
        store = compute.object_store_mb * 1_000_000
        ray.init(address="local", num_cpus=compute.cpus, object_store_memory=store, include_dashboard=False, **quiet)
    else:
        ray.init(**quiet)
    _quiet_data()
    try:
        yield
    finally:
        ray.shutdown()


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
