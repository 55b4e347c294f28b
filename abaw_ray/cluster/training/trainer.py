"""Stage I on Ray Train: data-parallel ranks train ``encoder.task`` through DeepSpeed and resume from the last checkpoint after a failure.

``encoder/`` defines a step. This module starts the ranks and forwards their reports to the driver.
"""

import json
import logging
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.train import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from abaw_ray.cluster.engine.resources import Resources
from abaw_ray.cluster.engine.user_errors import to_user_error
from abaw_ray.cluster.training.job import RankJob
from abaw_ray.cluster.training.rank import run_rank
from abaw_ray.cluster.training.ray_private import worker_error, worker_message
from abaw_ray.core.errors import AbawError, StageError, StorageError
from abaw_ray.core.settings import AutoOnOff
from abaw_ray.core.storage.filesystems import resolve
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig

_LOG = logging.getLogger(__name__)
_POLL_S = 0.2
"""Seconds between two reads of the reports."""


def train_encoder(
    *,
    store: StageStore,
    item: Item,
    shards: list[str],
    config: EncoderConfig,
    resources: Resources,
    start_from: str = "",
    micro_batch_size: int = 0,
    recompute_activations: bool = False,
    compile: AutoOnOff = "auto",
    preemption_poll_s: float = 5.0,
    is_synthetic: bool = False,
    on_report: Callable[[dict], None] | None = None,
    preempted_nodes: Callable[[], frozenset[str]] | None = None,
) -> dict:
    """Train an encoder on a running Ray and write it as the item's output in the store; a finished item is not trained again.

    Args:
        store: The stage's store; checkpoints are below its path until the output is complete.
        item: The training run.
        shards: Storage paths of the ``IMAGE`` tables.
        config: All settings that determine the encoder.
        resources: Number and size of the ranks; they do not change the result.
        start_from: Folder of an encoder with its head below the storage root, to start from its weights instead of those of the settings.
        micro_batch_size: Largest number of images of one forward pass; 0 selects it by the GPU's memory. It does not change the result.
        recompute_activations: Whether activations are recomputed in the backward pass, to need less memory.
        compile: Whether the encoder's blocks are compiled.
        preemption_poll_s: Interval at which ranks poll for preemption notices, in seconds.
        is_synthetic: Whether the images are generated, which the model card says.
        on_report: Called in this process after each epoch with its metrics, and after a checkpoint on preemption with ``step``,
            ``total_steps`` and ``preempted_nodes``, the number of nodes with a new preemption notice.
        preempted_nodes: Returns the IDs of nodes with a preemption notice; None where nodes are not preempted.

    Returns:
        The metrics of the selected epoch, ``selection`` (which it is), ``probe`` (scores of the linear probe) and ``curve``, the metrics of all
        epochs. The output holds ``encoder/`` (for ``load_encoder``), ``other/`` where the best and the last epoch differ, ``tensorboard/`` and
        ``curve.json``.

    Raises:
        ConfigError: the number of workers does not divide the batch.
        DataError: the images or the initial weights are not usable.
        StageError: the training failed after all retries; the same command resumes from the last epoch.
    """
    job = replace(
        _job(store, item, shards, config, resources),
        start_from=start_from,
        micro_batch_size=micro_batch_size,
        recompute_activations=recompute_activations,
        compile=compile,
        preempted_nodes=preempted_nodes,
        preemption_poll_s=preemption_poll_s,
        is_synthetic=is_synthetic,
    )
    if store.finished([item]):
        _delete_checkpoints(store.storage, job.run)  # of a run that was killed before it deleted them
        return store.folder_figures(item)
    config.check_world_size(resources.workers)
    metrics = _run(job, resources, on_report)
    store.complete_folder(item, metrics)
    _delete_checkpoints(store.storage, job.run)
    return metrics


def _job(store: StageStore, item: Item, shards: list[str], config: EncoderConfig, resources: Resources) -> RankJob:
    return RankJob(
        storage=store.storage,
        output=store.output(item, ""),
        run=f"{store.path}/runs/{item.key}",
        shards=tuple(shards),
        config=config,
        cpus=resources.cpus,
        gpu=resources.gpus > 0,
    )


def _run(job: RankJob, resources: Resources, on_report: Callable[[dict], None] | None) -> dict:
    with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
        reports = Path(folder) / "reports.jsonl"
        with _forward_reports(reports, on_report):
            return _fit(_trainer(job, resources, reports))


def _delete_checkpoints(storage: Storage, run: str) -> None:
    """Delete the checkpoints of a run whose output is complete."""
    try:
        storage.delete(run)
    except StorageError as error:
        _LOG.warning("%s: the checkpoints of a finished run could not be deleted: %s", storage.uri(run), error)


def _trainer(job: RankJob, resources: Resources, reports: Path) -> TorchTrainer:
    filesystem, root = resolve(job.storage.config.uri, job.storage.config)
    parent, name = job.run.rsplit("/", 1)
    return TorchTrainer(
        lambda: run_rank(job),
        torch_config=TorchConfig(backend="nccl" if job.gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=resources.workers, use_gpu=job.gpu, resources_per_worker=resources.request),
        run_config=RunConfig(
            name=name,
            storage_path=f"{root}/{parent}",
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=3, controller_failure_limit=5),
            callbacks=[_ReportWriter(reports)],
            logging_config=LoggingConfig("ERROR"),
        ),
    )


def _fit(trainer: TorchTrainer) -> dict:
    """Run the training and return its metrics; an ``AbawError`` of a worker is raised unchanged, any other error as one line."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        value: Any = trainer.fit().return_value
    except TrainingFailedError as error:
        if user_error := to_user_error(worker_error(error)):
            raise user_error from error
        message = f"encoder: the training failed ({worker_message(error)}); the same command continues from the last epoch"
        raise StageError(message) from error
    except SystemExit as stopped:  # raised by Ray on Ctrl-C, after it has ended the workers
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
    if isinstance(value, AbawError):
        raise value
    return value


class _ReportWriter(UserCallback):
    """Runs in Ray's controller on the driver's node: appends the ranks' reports to a file that the driver reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_report(self, run_context: Any, metrics: list[dict], checkpoint: Any) -> None:
        """Append the report of rank 0, which equals that of every rank."""
        with self.path.open("a") as file:
            file.write(json.dumps(metrics[0]) + "\n")


@contextmanager
def _forward_reports(path: Path, on_report: Callable[[dict], None] | None) -> Iterator[None]:
    """Call ``on_report`` for each line that is appended to the file while the block runs."""
    if on_report is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_read_reports, args=(path, on_report, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def _read_reports(path: Path, on_report: Callable[[dict], None], stop: threading.Event) -> None:
    count = 0
    while True:
        last_read = stop.wait(_POLL_S)
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines[count:]:
            on_report(json.loads(line))
        count = len(lines)
        if last_read:
            return
