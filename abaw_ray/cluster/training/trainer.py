"""Stage I on Ray Train: ranks that share every step of ``encoder.task`` through DeepSpeed, and go on from the last checkpoint after a loss.

What a step is stands in ``encoder/``; here stand only the ranks, their checkpoints, and what the driver sees of them.
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
from abaw_ray.cluster.training.rank import RankJob, run_rank
from abaw_ray.core.errors import AbawError, StageError, StorageError
from abaw_ray.core.storage.filesystems import resolve
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig

_LOG = logging.getLogger(__name__)


def train_encoder(
    *,
    store: StageStore,
    item: Item,
    shards: list[str],
    config: EncoderConfig,
    resources: Resources,
    preemption_poll_s: float = 5.0,
    on_report: Callable[[dict], None] | None = None,
    heed: Callable[[], frozenset[str]] | None = None,
) -> dict:
    """Train an encoder on a running Ray and write it as the item's part of the home.

    Args:
        store: Of this stage; checkpoints lie below it until the part is complete.
        item: The run.
        shards: Storage paths of the ``IMAGE`` parts.
        config: All settings that shape the encoder.
        resources: Number and size of the ranks; they do not change the result.
        preemption_poll_s: Interval at which ranks poll for preemption notices, in seconds.
        on_report: Called in this process after each epoch with its figures, and with ``step`` and ``leaving`` after a checkpoint that was
            written because so many machines are about to go.
        heed: Names the machines that are about to go; None where none ever does.

    Returns:
        The figures of the last epoch, and ``curve``, the figures of all. The part holds ``encoder/`` (for ``load_encoder``) and ``curve.json``.

    Raises:
        ConfigError: the workers cannot share the batch.
        DataError: the images or the first weights are not usable.
        StageError: workers were lost more often than is worth trying; the same command goes on from the last epoch.
    """
    job = replace(_job(store, item, shards, config, resources), heed=heed, heed_seconds=preemption_poll_s)
    if store.finished([item]):
        _forget(store.storage, job.run)  # which a run that was killed in between did not
        return store.folder_figures(item)
    config.check_ranks(resources.workers)
    figures = _run(job, resources, on_report)
    store.complete_folder(item, figures)
    _forget(store.storage, job.run)
    return figures


def _job(store: StageStore, item: Item, shards: list[str], config: EncoderConfig, resources: Resources) -> RankJob:
    return RankJob(
        storage=store.storage,
        part=store.output(item, ""),
        run=f"{store.path}/runs/{item.key}",
        shards=tuple(shards),
        config=config,
        cpus=resources.cpus,
        gpu=resources.gpus > 0,
    )


def _run(job: RankJob, resources: Resources, on_report: Callable[[dict], None] | None) -> dict:
    with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
        lines = Path(folder) / "epochs.jsonl"
        with _following(lines, on_report):
            return _fit(_trainer(job, resources, lines))


def _forget(storage: Storage, run: str) -> None:
    """Delete the run's checkpoints: nothing goes on from them once the part is whole."""
    try:
        storage.delete(run)
    except StorageError as error:
        _LOG.warning("%s: the checkpoints of a finished run stay there: %s", storage.uri(run), error)


def _trainer(job: RankJob, resources: Resources, lines: Path) -> TorchTrainer:
    filesystem, root = resolve(job.storage.config.uri, job.storage.config)
    above, name = job.run.rsplit("/", 1)
    return TorchTrainer(
        lambda: run_rank(job),
        torch_config=TorchConfig(backend="nccl" if job.gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=resources.workers, use_gpu=job.gpu, resources_per_worker=resources.request),
        run_config=RunConfig(
            name=name,
            storage_path=f"{root}/{above}",
            storage_filesystem=filesystem,
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=3, controller_failure_limit=5),
            callbacks=[_Lines(lines)],
            logging_config=LoggingConfig("ERROR"),
        ),
    )


def _fit(trainer: TorchTrainer) -> dict:
    """Run to the end; errors of ours come out as themselves, all others of the workers as one line."""
    before = signal.getsignal(signal.SIGINT)
    try:
        value = trainer.fit().return_value
    except TrainingFailedError as error:
        failure = next(iter(getattr(error, "worker_failures", {}).values()), error)
        cause = getattr(failure, "_base_exc", failure)  # Ray's wrapper keeps what the worker raised under this name
        if found := to_user_error(cause):
            raise found from error
        last = " ".join(str(failure).strip().splitlines()[-1:]) or type(failure).__name__
        raise StageError(f"encoder: the training failed, lastly with: {last}; the same command goes on from the last epoch") from error
    except SystemExit as stopped:  # Ray's answer to Ctrl-C, after it has ended the workers
        raise KeyboardInterrupt from stopped
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    if isinstance(value, AbawError):
        raise value
    return value


class _Lines(UserCallback):
    """Lives in Ray's controller, on the driver's node: appends what ranks report to a file that the driver follows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_report(self, run_context: Any, metrics: list[dict], checkpoint: Any) -> None:
        """Append the report of rank 0, which is that of all ranks."""
        with self.path.open("a") as file:
            file.write(json.dumps(metrics[0]) + "\n")


@contextmanager
def _following(path: Path, on_report: Callable[[dict], None] | None) -> Iterator[None]:
    """Hand each line of a growing file to the caller while the block runs."""
    if on_report is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(path, on_report, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def _follow(path: Path, on_report: Callable[[dict], None], stop: threading.Event) -> None:
    read = 0
    while True:
        ending = stop.wait(0.2)
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines[read:]:
            on_report(json.loads(line))
        read = len(lines)
        if ending:
            return
