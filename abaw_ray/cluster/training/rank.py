"""One rank of Stage I's training: inside a Ray Train worker, from its share of the images to its share of the checkpoints."""

import json
import logging
import math
import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import ray.train
import ray.train.torch
import ray.train.v2._internal.execution.context as report_log
import torch
import torch.distributed as dist
from torch import Tensor

from abaw_ray.cluster.training import checkpoint
from abaw_ray.cluster.training.zero import ZeroConfig, ZeroEngine, prepare_deepspeed
from abaw_ray.core.errors import AbawError, ConfigError, DataError, StageError
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet, node_images
from abaw_ray.encoder.model import save_encoder
from abaw_ray.encoder.task import EncoderTask, ExpressionModel, Place
from abaw_ray.training.loop import run_steps
from abaw_ray.training.optim import rate_share

_T = TypeVar("_T")
_ERROR = 8192
"""Bytes of an error that a rank tells the others, and eight times as many as the characters of its text."""


@dataclass(frozen=True, kw_only=True)
class RankJob:
    """What every rank is told."""

    storage: Storage
    """Where images lie, checkpoints and the encoder go."""
    part: str
    """Path of the encoder's part below the storage root."""
    run: str
    """Path of the run's checkpoints below the storage root."""
    shards: tuple[str, ...]
    config: EncoderConfig
    cpus: float
    gpu: bool
    heed: Callable[[], frozenset[str]] | None = None
    """Names the machines that are about to go; all ranks ask together, about every ``heed_seconds``. None where machines do not go."""
    heed_seconds: float = 5.0


def leaving() -> frozenset[str]:
    """The machines of this training that Ray knows to be about to go."""
    found = ray.train.get_preemption_info()
    return frozenset(found.preempted_node_ids if found else ())


def first_error(own: AbawError | None, *, rank: int, ranks: int, mean: Callable[[Tensor], Tensor]) -> AbawError | None:
    """The error of the first rank that has one, on all ranks; called by all together.

    Args:
        own: This rank's.
        rank: This rank.
        ranks: How many there are.
        mean: Of a tensor over the ranks: the one thing by which they speak, with or without GPUs.
    """
    packed = pickle.dumps(type(own)(str(own)[: _ERROR // 8])) if own else b""
    rows = torch.zeros(ranks, _ERROR)
    rows[rank, : len(packed)] = torch.tensor(list(packed), dtype=torch.float32)
    rows = (mean(rows) * ranks).round().to(torch.uint8).cpu()
    found = [bytes(row.tolist()) for row in rows if row.any()]
    return pickle.loads(found[0]) if found else None


def run_rank(job: RankJob) -> dict | AbawError:
    """Train to the end; returns the figures, or the error that no other attempt would mend."""
    logging.getLogger(report_log.__file__).setLevel(logging.WARNING)  # this logger is named by its file and escapes Ray's own settings
    prepare_deepspeed(gpu=job.gpu)
    torch.set_num_threads(max(1, int(job.cpus)))
    try:
        with disk_full_to_storage_error():
            return _Rank(job).train()
    except (ConfigError, DataError, StageError) as error:
        return error


class _Rank:
    """The state of one rank between its epochs."""

    def __init__(self, job: RankJob) -> None:
        """Build the task, the model and the engine, from the last checkpoint where there is one."""
        context = ray.train.get_context()
        self.job, self.config = job, job.config
        self.rank, self.ranks, self.first_of_node = context.get_world_rank(), context.get_world_size(), context.get_local_rank() == 0
        self.device = str(ray.train.torch.get_device())
        self.readers = int(job.cpus) - 1
        place = Place(rank=self.rank, ranks=self.ranks, device=self.device, mean_over_ranks=self.mean)
        self.images, self.task, self.model = self._together(lambda: self._read(place))
        self.curve: list[dict] = []
        self.step, self.losses = 0, 0.0
        """Steps taken in all, and the sum of the losses of those that the unfinished epoch has taken before a checkpoint."""
        self.heeded: frozenset[str] = frozenset()
        self.engine = self._start()
        self.asked, self.ask_at = (self.step, time.monotonic()), self.step
        """After which step and when it was last asked who is about to go, and after which step it will be asked next."""

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the ranks."""
        values = values.to(self.device)
        dist.all_reduce(values)
        return values / self.ranks

    def _read(self, place: Place) -> tuple[ImageSet, EncoderTask, ExpressionModel]:
        images = node_images(self.job.storage, self.job.shards)
        return images, EncoderTask(self.config, images, place), ExpressionModel(self.config)

    def _together(self, build: Callable[[], _T]) -> _T:
        """What ``build`` gives, once it has on all ranks; the error of one is raised on all: nobody waits half an hour for a rank that ended."""
        built, failed = None, None
        try:
            built = build()
        except AbawError as error:
            failed = error
        if found := first_error(failed, rank=self.rank, ranks=self.ranks, mean=self.mean):
            raise found from failed
        return built

    def _start(self) -> ZeroEngine:
        config = self.config
        zero = ZeroConfig(
            stage=config.zero,
            batch=config.global_batch,
            pieces=self.task.pieces_per_step,
            ranks=self.ranks,
            bf16=config.precision == "bf16" or (config.precision == "auto" and self.job.gpu),
            clip=config.optim.clip,
            gpu=self.job.gpu,
        )
        groups, last = self.model.groups(config), ray.train.get_checkpoint()
        if last is None:
            return ZeroEngine(self.model, groups, config.optim, zero)
        storage, path = self.job.storage, f"{self.job.run}/{Path(last.path).name}"
        folder, converted = checkpoint.fetch(storage, path, ranks=self.ranks, convert=config.zero > 0)
        engine = ZeroEngine(self.model, groups, config.optim, zero, universal=converted)
        state = engine.load(folder)
        self.curve, self.step, self.losses = state["curve"], state["step"], state["losses"]
        dist.barrier()
        if self.first_of_node:
            checkpoint.drop(storage, path, ranks=self.ranks)
        return engine

    def train(self) -> dict:
        """Epoch after epoch, each with its score, its checkpoint and its report; then the encoder."""
        for epoch in range(len(self.curve), self.config.epochs):
            self.curve.append(self._epoch(epoch))
            self.losses = 0.0
            self._save(self.curve[-1])
        if self.rank == 0:
            self._write()
        dist.barrier()
        if self.first_of_node:
            self.images.path.unlink(missing_ok=True)
        return {**self.curve[-1], "seconds": round(sum(line["seconds"] for line in self.curve), 2), "curve": self.curve}

    def _save(self, report: dict) -> None:
        """Write a checkpoint, and tell the driver of it."""
        state = {"curve": self.curve, "step": self.step, "losses": self.losses}
        folder = checkpoint.write(self.engine, state, rank=self.rank, ranks=self.ranks)
        ray.train.report(
            report,
            checkpoint=ray.train.Checkpoint.from_directory(folder),
            checkpoint_upload_fn=checkpoint.uploader(self.job.storage, self.job.run),
        )

    def _steps(self, steps: range, total: int) -> None:
        """Take these steps, and add up their losses."""
        task, losses = self.task, []
        for loss in run_steps(
            steps,
            task.pieces,
            lambda piece: task.loss_of(self.engine, piece),
            self.engine,
            rate=lambda step: rate_share(step, total, self.config.optim),
            seed=task.seed,
            threads=self.readers,
        ):
            losses.append(loss)
            self.step += 1
            if self.job.heed and self.ask_at <= self.step < steps.stop:
                gone = self.job.heed() - self.heeded
                if gone:
                    self.losses += self._sum(losses)
                    losses, self.heeded = [], self.heeded | gone
                    self._save({"step": self.step, "of": total, "leaving": len(gone)})
                self._pace()
        self.losses += self._sum(losses)

    def _pace(self) -> None:
        """Fix when to ask next by how long the steps since the last question took: on every rank after the same step."""
        step, moment = self.asked
        self.asked = (self.step, time.monotonic())
        seconds = float(self.mean(torch.tensor((self.asked[1] - moment) / max(self.step - step, 1))))
        self.ask_at = self.step + max(1, int(self.job.heed_seconds / max(seconds, 1e-3)))

    def _sum(self, losses: list[Tensor]) -> float:
        """Of losses that are means over the ranks.

        Raises:
            StageError: it is not finite.
        """
        return self._finite(float(self.mean(torch.stack(losses).sum()))) if losses else 0.0

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            how = f"lower optim.lr={self.config.optim.lr:g} or raise optim.warmup={self.config.optim.warmup:g}"
            raise StageError(f"encoder: the loss is not finite by step {self.step}; {how}")
        return loss

    def _epoch(self, epoch: int) -> dict:
        started, task, total = time.monotonic(), self.task, self.config.epochs * self.task.steps_per_epoch
        steps = range(self.step, (epoch + 1) * task.steps_per_epoch)
        self._steps(steps, total)
        seconds = time.monotonic() - started
        counts = task.count(self.model, threads=self.readers)
        counts.sums = (self.mean(counts.sums) * self.ranks).cpu()
        figures = counts.figures(self.config.classes)
        self._finite(figures["val_loss"])
        return {
            "epoch": epoch + 1,
            "epochs": self.config.epochs,
            "loss": self.losses / task.steps_per_epoch,
            **figures,
            "train_images": len(task.train),
            "images_per_second": round(len(steps) * self.config.global_batch / seconds, 1),
            "seconds": round(time.monotonic() - started, 2),
            "workers": self.ranks,
        }

    def _write(self) -> None:
        storage, part = self.job.storage, self.job.part
        with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
            save_encoder(Path(folder), self.model.encoder)
            for path in sorted(Path(folder).iterdir()):
                storage.put_file(path, f"{part}/encoder/{path.name}")
        storage.write_bytes(f"{part}/curve.json", json.dumps(self.curve, indent=1).encode())
