"""What every rank of a training gets, and the settings of its engine that follow from the number and the kind of the ranks."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ray.train
import torch
import torch.distributed as dist
from torch import Tensor

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.waiting.room import PlacementGroups
from abaw_ray.cluster.training.ranks.rank_metrics import RankMetrics
from abaw_ray.cluster.training.ranks.step_log import StepLog, StepLogConfig
from abaw_ray.cluster.training.ranks.zero import ZeroConfig
from abaw_ray.cluster.training.sizes import LargerSizes, allowed_sizes
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.training.events import EventLog

EVENTS_FOLDER = "tensorboard"
"""Folder of the event files in the stage's output."""


@dataclass(frozen=True, kw_only=True)
class RankJob:
    """Input of every rank."""

    storage: Storage
    """Storage of the images, the checkpoints and the encoder."""
    output: str
    """Path of the stage's output below the storage root."""
    run: str
    """Path of the run's checkpoints below the storage root."""
    stage: str
    """Name of the stage, for metrics."""
    run_id: str
    """Name of the run, for metrics."""
    shards: tuple[str, ...]
    """Paths of the ``IMAGE`` tables below the storage root."""
    config: EncoderConfig
    start_from: str = ""
    """Folder of an encoder with its head below the storage root, whose weights are the initial ones; empty for those of ``config``."""
    compute: ComputeConfig
    """Size of the ranks, passes of a step, times of checkpoints."""
    is_synthetic: bool = False
    """Whether the images are generated, which the model card says."""
    checkpoint_key: bytes = field(default=b"", repr=False)
    """Signs the checkpoints; empty for no signature."""
    min_report_interval_s: float = 5.0
    """Shortest time between two reports of steps, in seconds of training. The controller takes one report per half second, for which the ranks would
    wait. Ours."""
    preempted_nodes: Callable[[], frozenset[str]] | None = None
    """Returns the IDs of nodes with a preemption notice; all ranks call it together. None where nodes are not preempted."""

    @property
    def cpus(self) -> float:
        """CPUs of a rank."""
        return self.compute.training.cpus

    @property
    def gpu(self) -> bool:
        """Whether each rank has a GPU."""
        return self.compute.training.gpus > 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Allowed numbers of ranks, the largest first."""
        return allowed_sizes(self.compute.training.workers, self.compute.recovery.min_workers, self.config.global_batch_size)

    def larger_sizes(self, world_size: int) -> LargerSizes | None:
        """Requests room for the ranks that are missing; None where none is. Called by one rank; the driver takes the request back."""
        return LargerSizes(PlacementGroups(self.compute.training, self.run), self.sizes, world_size) if world_size < self.sizes[0] else None

    def build_model(self) -> ExpressionModel:
        """The model with its initial weights."""
        model = ExpressionModel(self.config, self.storage.config)
        if self.start_from:
            with tempfile.TemporaryDirectory(prefix="abaw-encoder-") as folder:
                download_folder(self.storage, self.start_from, Path(folder))
                model.load(Path(folder))
        return model

    def zero_config(self, world_size: int, gradient_accumulation_steps: int) -> ZeroConfig:
        """Settings of the DeepSpeed engine."""
        config = self.config
        return ZeroConfig(
            stage=config.zero_stage,
            global_batch_size=config.global_batch_size,
            gradient_accumulation_steps=gradient_accumulation_steps,
            world_size=world_size,
            bf16=config.precision == "bf16" or (config.precision == "auto" and self.gpu),
            max_grad_norm=config.optim.max_grad_norm,
            gpu=self.gpu,
        )

    def step_log(self, *, rank: int, step: int, total_steps: int, mean_over_ranks: Callable[[Tensor], Tensor]) -> StepLog:
        """The log of a rank's steps.

        Args:
            rank: The rank; the events are written by rank 0.
            step: Number of steps taken.
            total_steps: Number of steps of the whole training.
            mean_over_ranks: Mean of a vector over the ranks.
        """
        config = StepLogConfig(
            optim=self.config.optim,
            total_steps=total_steps,
            global_batch_size=self.config.global_batch_size,
            log_every_n_steps=self.compute.log_every_n_steps,
            min_report_interval_s=self.min_report_interval_s,
            stage=self.stage,
        )
        events = EventLog(self.storage, f"{self.output}/{EVENTS_FOLDER}", step) if rank == 0 else None
        return StepLog(config, mean_over_ranks, ray.train.report, RankMetrics(self.stage, self.run_id, rank), events)

    def choose_micro_batch_size(self, model: ExpressionModel, device: str) -> int:
        """The largest number of images of a pass, on every rank the same; all ranks call this together. Their GPUs may differ in memory."""
        if self.compute.micro_batch_size:
            return self.compute.micro_batch_size
        largest = model.largest_micro_batch(device, recompute=self.compute.recompute_activations)
        images = torch.tensor(largest).to(device)
        dist.all_reduce(images, dist.ReduceOp.MIN)
        return int(images)
