"""Ray Train's private and developer interfaces that this package depends on, in one place.

``tests/cluster/test_private_apis.py`` fails when one of them changes; pin another Ray version only after it passes.
"""

import logging
from typing import Any

import ray.train
import ray.train.v2._internal.execution.context as train_context


def quiet_report_logger() -> None:
    """Log only warnings of ``ray.train.report``: its logger is named by its file's path, so ``LoggingConfig`` does not reach it."""
    logging.getLogger(train_context.__file__).setLevel(logging.WARNING)


def checkpoint_in_storage(name: str) -> ray.train.Checkpoint:
    """The checkpoint of this name in the run's storage, for a ``checkpoint_upload_fn`` that has uploaded its files itself."""
    storage: Any = ray.train.get_context().get_storage()
    return ray.train.Checkpoint(path=storage.build_checkpoint_path_from_name(name), filesystem=storage.storage_filesystem)


def worker_error(error: ray.train.TrainingFailedError) -> BaseException:
    """The exception that the first failed worker raised; the training's own error where no worker's is known."""
    failure = next(iter(getattr(error, "worker_failures", {}).values()), error)
    return getattr(failure, "_base_exc", failure)


def worker_message(error: ray.train.TrainingFailedError) -> str:
    """The last line of the first failed worker's error."""
    failure = next(iter(getattr(error, "worker_failures", {}).values()), error)
    return " ".join(str(failure).strip().splitlines()[-1:]) or type(failure).__name__
