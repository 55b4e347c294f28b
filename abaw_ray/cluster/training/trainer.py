"""Stage I on Ray Train: data-parallel ranks train ``encoder.task`` through DeepSpeed and resume from the last checkpoint after a failure.

``encoder/`` defines a step, ``attempts`` what follows a failure. This module starts the ranks and forwards their reports to the driver.
"""

import logging
import signal
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from abaw_ray.cluster.engine.user_errors import task_death_error, to_user_error
from abaw_ray.cluster.machines.autoscaler import why_no_machines
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.waiting.on_demand import OnDemandRequest
from abaw_ray.cluster.machines.waiting.room import PlacementGroups, release_named
from abaw_ray.cluster.training.attempts import Attempts, Restart
from abaw_ray.cluster.training.checkpoints.file_list import read_key
from abaw_ray.cluster.training.checkpoints.meta import checkpoint_folder
from abaw_ray.cluster.training.job import RankJob
from abaw_ray.cluster.training.ranks.rank import run_rank
from abaw_ray.cluster.training.ray_private import failure_kind, killed_rank, worker_error, worker_message
from abaw_ray.cluster.training.reports import ReportWriter, count_checkpoints, forward_reports
from abaw_ray.core.errors import AbawError, StageError, StorageError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import resolve
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig

_LOG = logging.getLogger(__name__)
_FEWER_RANKS = "use machines with more memory, or raise compute.training.memory-gb, so that fewer ranks run on one; the same command continues"
"""What to do where a rank was killed for lack of memory."""


def train_encoder(
    *,
    store: StageStore,
    item: Item,
    shards: list[str],
    config: EncoderConfig,
    compute: ComputeConfig,
    start_from: str = "",
    is_synthetic: bool = False,
    run_id: str = "",
    on_report: Callable[[dict], None] | None = None,
    on_wait: Callable[[str], None] | None = None,
    preempted_nodes: Callable[[], frozenset[str]] | None = None,
) -> dict:
    """Train an encoder on a running Ray and write it as the item's output in the store; a finished item is not trained again.

    Args:
        store: The stage's store; checkpoints are below its path until the output is complete.
        item: The training run.
        shards: Storage paths of the ``IMAGE`` tables.
        config: All settings that determine the encoder.
        compute: Number and size of the ranks, passes of a step, when the training waits for machines or gives up; they do not change the result.
        start_from: Folder of an encoder with its head below the storage root, to start from its weights instead of those of the settings.
        is_synthetic: Whether the images are generated, which the model card says.
        run_id: Name of the run, a tag of the metrics.
        on_report: Called in this process after each epoch with its metrics; after a checkpoint within an epoch with ``step``, ``total_steps`` and
            ``preempted_nodes``, the number of nodes with a new preemption notice; and every few steps (``compute.log_every_n_steps``) with ``step``,
            ``total_steps`` and their ``loss``, ``learning_rate``, ``grad_norm`` (or None), ``images_per_second``, ``data_wait_s`` per step,
            ``seconds_left`` and ``gpu_memory_gib`` (or None). ``skipped`` says why newer checkpoints than that of the start were not used.
        on_wait: Called in this process with a line of text when the training waits for machines, continues after a failure or with other workers.
        preempted_nodes: Returns the IDs of nodes with a preemption notice; None where nodes are not preempted.

    Returns:
        The metrics of the selected epoch, ``selection`` (which it is), ``probe`` (scores of the linear probe) and ``curve``, the metrics of all
        epochs. The output holds ``encoder/`` (for ``load_encoder``), ``other/`` where the best and the last epoch differ, ``tensorboard/`` and
        ``curve.json``.

    Raises:
        ConfigError: the number of workers does not divide the batch, or the key of the checkpoints cannot be read.
        DataError: the images or the initial weights are not usable.
        StageError: the training failed too often, or there were no machines for too long; the same command resumes from the last checkpoint.
    """
    job = RankJob(
        storage=store.storage,
        output=store.output(item, ""),
        run=checkpoint_folder(store, item),
        stage=store.stage,
        run_id=run_id,
        shards=tuple(shards),
        config=config,
        start_from=start_from,
        compute=compute,
        is_synthetic=is_synthetic,
        checkpoint_key=read_key(compute.recovery.checkpoint_key_file),
        preempted_nodes=preempted_nodes,
    )
    if store.finished([item]):
        _delete_checkpoints(store.storage, job.run)  # of a run that was killed before it deleted them
        return store.folder_figures(item)
    config.check_world_size(compute.training.workers)
    metrics = _run(job, on_report, on_wait or (lambda text: None))
    store.complete_folder(item, metrics)
    _delete_checkpoints(store.storage, job.run)
    return metrics


def _run(job: RankJob, on_report: Callable[[dict], None] | None, on_wait: Callable[[str], None]) -> dict:
    resources = job.compute.training
    with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
        reports = Path(folder) / "reports.jsonl"
        attempts = Attempts(
            fit=lambda workers: _fit(job, workers, reports),
            failure_kind=failure_kind,
            failure_error=partial(_failure_error, stage=job.stage),
            checkpoints=lambda: count_checkpoints(reports),
            room=PlacementGroups(resources),
            sizes=job.sizes,
            worker=resources,
            recovery=job.compute.recovery,
            on_demand=OnDemandRequest(after_minutes=job.compute.on_demand_after_minutes, show=on_wait),
            show=on_wait,
            why=why_no_machines,
            stage=job.stage,
        )
        with forward_reports(reports, on_report):
            return attempts.run()


def _delete_checkpoints(storage: Storage, run: str) -> None:
    """Delete the checkpoints of a run whose output is complete."""
    try:
        storage.delete(run)
    except StorageError as error:
        _LOG.warning("%s: the checkpoints of a finished run could not be deleted: %s", storage.uri(run), error)


def _trainer(job: RankJob, workers: int, reports: Path) -> TorchTrainer:
    resources = job.compute.training
    filesystem, root = resolve(job.storage.config.uri, job.storage.config)
    parent, name = job.run.rsplit("/", 1)
    return TorchTrainer(
        lambda: run_rank(job),
        torch_config=TorchConfig(backend="nccl" if job.gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=job.gpu, resources_per_worker=resources.request),
        run_config=RunConfig(
            name=name,
            storage_path=f"{root}/{parent}",
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),  # ``attempts`` decides
            callbacks=[ReportWriter(reports)],
            logging_config=LoggingConfig("ERROR"),
        ),
    )


def _fit(job: RankJob, workers: int, reports: Path) -> dict | Restart:
    """Make one attempt and return what the ranks return; an ``AbawError`` among it is raised."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        value: Any = _trainer(job, workers, reports).fit().return_value
    except SystemExit as stopped:  # raised by Ray on Ctrl-C, after it has ended the workers
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        release_named(job.run, job.sizes[0])
    if isinstance(value, AbawError):
        raise value
    return value


def _failure_error(error: TrainingFailedError, stage: str) -> AbawError:
    """An ``AbawError`` of a worker unchanged, any other error as one line."""
    if user_error := to_user_error(worker_error(error)):
        return user_error
    if killed := killed_rank(error):
        return task_death_error(f"{stage}: rank {killed[0]}", killed[1], _FEWER_RANKS)
    return StageError(f"{stage}: the training failed ({worker_message(error)}); the same command continues from the last checkpoint")
