"""One rank of Stage I's training in a Ray Train worker: from the stored images to checkpoints, metrics and the encoder."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TypeVar

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import Tensor

from abaw_ray.cluster.training.attempts import Restart
from abaw_ray.cluster.training.checkpoints import checkpoint
from abaw_ray.cluster.training.checkpoints.meta import CheckpointMeta
from abaw_ray.cluster.training.checkpoints.resume import fetch_intact
from abaw_ray.cluster.training.job import RankJob
from abaw_ray.cluster.training.output import write_output
from abaw_ray.cluster.training.ranks.average import WeightAverage
from abaw_ray.cluster.training.ranks.polls import RankPolls
from abaw_ray.cluster.training.ranks.rank_errors import on_all_ranks
from abaw_ray.cluster.training.ranks.step_log import check_finite
from abaw_ray.cluster.training.ranks.zero import ZeroEngine, prepare_deepspeed
from abaw_ray.cluster.training.ray_private import quiet_report_logger
from abaw_ray.core.errors import AbawError, ConfigError, DataError, StageError
from abaw_ray.core.storage.local_disk import disk_full_to_storage_error
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.images import ImageSet, open_image_set
from abaw_ray.encoder.moe import ExpertLoad
from abaw_ray.encoder.output.best import BestEncoder
from abaw_ray.encoder.task import EncoderTask, RankContext
from abaw_ray.encoder.vit.compiled_blocks import compile_blocks
from abaw_ray.training.loop import run_steps
from abaw_ray.training.optim import lr_multiplier

_T = TypeVar("_T")


class _StopError(Exception):
    """Raised on all ranks after a checkpoint, to continue with other workers."""

    def __init__(self, restart: Restart) -> None:
        self.restart = restart


def run_rank(job: RankJob) -> dict | Restart | AbawError:
    """Train and return the metrics at the end; before it, how to continue with other workers, or the error that a retry cannot fix."""
    quiet_report_logger()
    prepare_deepspeed(gpu=job.gpu)
    torch.set_num_threads(max(1, int(job.cpus)))
    try:
        with disk_full_to_storage_error():
            return _Rank(job).train()
    except _StopError as stopped:
        return stopped.restart
    except (ConfigError, DataError, StageError) as error:
        return error


class _Rank:
    """State of one rank between its epochs."""

    def __init__(self, job: RankJob) -> None:
        """Build the task, the model and the engine; resume from the last checkpoint where there is one."""
        context = ray.train.get_context()
        self.job, self.config = job, job.config
        self.rank, self.world_size, self.first_on_node = context.get_world_rank(), context.get_world_size(), context.get_local_rank() == 0
        self.device = str(ray.train.torch.get_device())
        self.num_workers = int(job.cpus) - 1
        self.images, self.model = self._on_all_ranks(self._load)
        rank_context = RankContext(
            rank=self.rank,
            world_size=self.world_size,
            device=self.device,
            mean_over_ranks=self.mean,
            micro_batch_size=job.choose_micro_batch_size(self.model, self.device),
        )
        self.task = self._on_all_ranks(lambda: EncoderTask(self.config, self.images, rank_context, noise_sizes=self.model.noise_sizes))
        self.curve: list[dict] = []  # metrics of the finished epochs
        self.step, self.loss_sum = 0, 0.0
        """Number of steps taken, and the sum of the losses that the unfinished epoch had accumulated at a checkpoint."""
        self.skipped = ""
        """Why newer checkpoints than that of the start were not used, until it is reported."""
        self.engine, self.average = self._start_engine()
        self.best = BestEncoder(job.storage, job.run)
        self.total_steps = self.config.epochs * self.task.steps_per_epoch
        self.log = job.step_log(rank=self.rank, step=self.step, total_steps=self.total_steps, mean_over_ranks=self.mean)
        self.polls = RankPolls(job.preempted_nodes, job.compute, self.mean, self.step)
        self.larger = job.larger_sizes(self.world_size) if self.rank == 0 else None

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the ranks."""
        values = values.to(self.device)
        dist.all_reduce(values)
        return values / self.world_size

    def _load(self) -> tuple[ImageSet, ExpressionModel]:
        images, model = open_image_set(self.job.storage, self.job.shards), self.job.build_model()
        if self.job.compute.recompute_activations:
            model.encoder.recompute_activations()
        self.not_compiled = compile_blocks(model.encoder.vit, self.job.compute.compile, self.device)
        """Why the encoder's blocks are not compiled although the settings select it; empty where there is no reason."""
        return images, model

    def _on_all_ranks(self, build: Callable[[], _T]) -> _T:
        return on_all_ranks(build, rank=self.rank, world_size=self.world_size, mean_over_ranks=self.mean)

    def _start_engine(self) -> tuple[ZeroEngine, WeightAverage | None]:
        config, storage = self.config, self.job.storage
        zero = self.job.zero_config(self.world_size, self.task.gradient_accumulation_steps)
        param_groups, last = self.model.parameter_groups(config), ray.train.get_checkpoint()
        if last is None:
            engine = ZeroEngine(self.model, param_groups, config.optim, zero)
            return engine, self._average_of(engine)
        found = fetch_intact(self.job, Path(last.path).name, world_size=self.world_size, on_all_ranks=self._on_all_ranks)
        self.skipped = found.skipped
        engine = ZeroEngine(self.model, param_groups, config.optim, zero, universal=found.universal)
        state = engine.load(found.folder)
        self.curve, self.step, self.loss_sum = state["curve"], state["step"], state["loss_sum"]
        self.task.expert_load = ExpertLoad(config.moe.num_experts, self.device, state["expert_fractions"])
        average = self._average_of(engine)
        if average:
            average.load(found.folder.parent / checkpoint.AVERAGE)
        dist.barrier()
        if self.first_on_node:
            checkpoint.delete_local_copy(storage, found.path, world_size=self.world_size)
        return engine, average

    def _average_of(self, engine: ZeroEngine) -> WeightAverage | None:
        """The average of the present weights; None where none is used."""
        decay = self.config.ema_decay
        return WeightAverage(engine.master_weights(), decay, sharded=engine.sharded) if decay else None

    def _weights_to_use(self) -> AbstractContextManager[None]:
        """While the block runs, the model has the weights that are validated and saved; all ranks call this together."""
        return self.average.applied(self.model) if self.average else nullcontext()

    def train(self) -> dict:
        """Run all epochs, each with validation, a checkpoint and a report; then write the output. Returns the metrics of the selected epoch."""
        for epoch in range(len(self.curve), self.config.epochs):
            self.curve.append(self._epoch(epoch))
            self.loss_sum = 0.0
            self._save_checkpoint(self.curve[-1])
            if epoch + 1 < self.config.epochs:
                self._stop_if_more_workers_have_room()
        with self._weights_to_use():
            figures = write_output(self.job, self.task, self.model, self.curve, self.best, num_workers=self.num_workers)
        dist.barrier()
        if self.first_on_node:
            self.images.path.unlink(missing_ok=True)
        return {**figures, "seconds": round(sum(epoch["seconds"] for epoch in self.curve), 2), "curve": self.curve}

    def _save_checkpoint(self, report: dict) -> None:
        """Write a checkpoint and report it to the driver."""
        self.log.upload_events(self.step)
        state = {"curve": self.curve, "step": self.step, "loss_sum": self.loss_sum, "expert_fractions": self.task.expert_load.fractions.tolist()}
        meta = CheckpointMeta(world_size=self.world_size, step=self.step, total_steps=self.total_steps)
        folder = checkpoint.write(self.engine, state, meta, rank=self.rank, average=self.average, key=self.job.checkpoint_key)
        ray.train.report(
            report | ({"skipped": self.skipped} if self.skipped else {}),
            checkpoint=ray.train.Checkpoint.from_directory(folder),
            checkpoint_upload_fn=checkpoint.uploader(self.job.storage, self.job.run),
        )
        self.skipped = ""
        self.polls.saved()
        self.log.resume()

    def _stop_if_more_workers_have_room(self) -> None:
        """End this attempt after a checkpoint if a larger number of workers has room. All ranks call this together."""
        workers = self.larger.with_room() if self.larger else 0
        if workers := round(float(self.mean(torch.tensor(float(workers)))) * self.world_size):
            raise _StopError(Restart(workers))

    def _run_steps(self, steps: range) -> None:
        """Take these steps and sum their losses; save a checkpoint when a node gets a preemption notice, and when the last one is old."""
        task, log = self.task, self.log
        log.resume()
        for loss in run_steps(
            steps,
            task.micro_batches,
            lambda micro_batch: task.loss_of(self.engine, micro_batch),
            self.engine,
            lr_multiplier=lambda step: lr_multiplier(step, self.total_steps, self.config.optim),
            seed=task.seed,
            num_workers=self.num_workers,
            device=self.device,
            on_data_wait=log.add_data_wait,
        ):
            log.add(loss, self.engine.grad_norm)
            if self.average:
                self.average.update(self.step)
            self.step += 1
            log.after(self.step)
            if self.step < steps.stop and (poll := self.polls.after(self.step, steps.stop)).checkpoint:
                self.loss_sum += log.sum(self.step)
                self._save_within_epoch(len(poll.preempted))
        self.loss_sum += log.sum(self.step)

    def _save_within_epoch(self, preempted_nodes: int) -> None:
        """Save a checkpoint between two steps; ends this attempt where machines go, or more of them have come."""
        self._save_checkpoint({"step": self.step, "total_steps": self.total_steps, "preempted_nodes": preempted_nodes})
        if preempted_nodes:  # steps on a machine that is about to end would be lost with it
            raise _StopError(Restart())
        self._stop_if_more_workers_have_room()

    def _epoch(self, epoch: int) -> dict:
        """Train and validate one epoch; returns its metrics."""
        started, task = time.monotonic(), self.task
        steps = range(self.step, (epoch + 1) * task.steps_per_epoch)
        self._run_steps(steps)
        seconds = time.monotonic() - started
        with self._weights_to_use():
            metrics = self._validate()
            if self.rank == 0:
                self.best.keep(self.model, self.config.classes, [*self.curve, metrics])
        return {
            "epoch": epoch + 1,
            "epochs": self.config.epochs,
            "steps": self.step,
            "loss": self.loss_sum / task.steps_per_epoch,
            **metrics,
            "train_images": len(task.train),
            "images_per_second": round(len(steps) * self.config.global_batch_size / seconds, 1),
            "seconds": round(time.monotonic() - started, 2),
            "workers": self.world_size,
            **({"not_compiled": self.not_compiled} if self.not_compiled else {}),
        }

    def _validate(self) -> dict:
        """Metrics on the validation images of all ranks.

        Raises:
            StageError: the loss is not finite.
        """
        validation = self.task.validate(self.model, num_workers=self.num_workers)
        validation.sums = (self.mean(validation.sums) * self.world_size).cpu()
        metrics = validation.metrics(self.config.classes)
        check_finite(metrics["val_loss"], self.step, self.config.optim, self.job.stage)
        self.log.add_scores(metrics, self.step)
        return metrics
