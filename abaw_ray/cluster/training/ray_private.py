"""Ray Train's private and developer interfaces that this package depends on, in one place.

``tests/cluster/test_private_apis.py`` fails when one of them changes; pin another Ray version only after it passes.
"""

import logging
from typing import Any

import ray.exceptions
import ray.train
import ray.train.v2._internal.exceptions as train_exceptions
import ray.train.v2._internal.execution.context as train_context

from abaw_ray.cluster.training.attempts import FailureKind


def quiet_report_logger() -> None:
    """Log only warnings of ``ray.train.report``: its logger is named by its file's path, so ``LoggingConfig`` does not reach it."""
    logging.getLogger(train_context.__file__).setLevel(logging.WARNING)


def checkpoint_in_storage(name: str) -> ray.train.Checkpoint:
    """The checkpoint of this name in the run's storage, for a ``checkpoint_upload_fn`` that has uploaded its files itself."""
    storage: Any = ray.train.get_context().get_storage()
    return ray.train.Checkpoint(path=storage.build_checkpoint_path_from_name(name), filesystem=storage.storage_filesystem)


def worker_error(error: ray.train.TrainingFailedError) -> BaseException:
    """The exception that ended the training: of a worker that died, else the first that a worker raised, else the training's own error."""
    _, failure = _failure(error)
    return getattr(failure, "_base_exc", failure)


def worker_message(error: ray.train.TrainingFailedError) -> str:
    """That exception in one line."""
    rank, failure = _failure(error)
    if _died(failure):
        return f"rank {rank} was lost: its process ended, or its machine"
    return " ".join(str(failure).strip().splitlines()[-1:]) or type(failure).__name__


def killed_rank(error: ray.train.TrainingFailedError) -> tuple[int, str] | None:
    """Rank and Ray's message of a worker that was killed for lack of memory; None if there is none."""
    rank, failure = _failure(error)
    cause = getattr(failure, "health_check_failure", None)
    return (rank, str(cause)) if isinstance(cause, ray.exceptions.OutOfMemoryError) else None


def _failure(error: ray.train.TrainingFailedError) -> tuple[int, BaseException]:
    """Rank and failure of a worker that died, if there is one: the others then raise errors about their broken connections to it."""
    failures = list(getattr(error, "worker_failures", {}).items())
    died = [(rank, failure) for rank, failure in failures if _died(failure)]
    return (died or failures or [(0, error)])[0]


def _died(failure: BaseException) -> bool:
    return isinstance(getattr(failure, "health_check_failure", None), ray.exceptions.RayActorError | ray.exceptions.OutOfMemoryError)


def failure_kind(error: ray.train.TrainingFailedError) -> FailureKind:
    """Whether the workers of a training were not ready in time, lost a machine to a preemption, or failed."""
    if isinstance(getattr(error, "controller_failure", None), train_exceptions.WorkerGroupStartupTimeoutError):
        return "not started"
    causes = [getattr(failure, "health_check_failure", failure) for failure in getattr(error, "worker_failures", {}).values()]
    lost = isinstance(error, ray.train.PreemptionError) or any(getattr(cause, "preempted", False) for cause in causes)
    return "preempted" if lost else "failed"
