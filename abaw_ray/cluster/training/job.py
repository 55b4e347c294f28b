"""What every rank of a training gets, and the settings of its engine that follow from the number and the kind of the ranks."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from abaw_ray.cluster.training.zero import ZeroConfig
from abaw_ray.core.settings import AutoOnOff
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.expression_model import ExpressionModel


@dataclass(frozen=True, kw_only=True)
class RankJob:
    """Input of every rank."""

    storage: Storage
    """Storage of the images, the checkpoints and the encoder."""
    output: str
    """Path of the stage's output below the storage root."""
    run: str
    """Path of the run's checkpoints below the storage root."""
    shards: tuple[str, ...]
    """Paths of the ``IMAGE`` tables below the storage root."""
    config: EncoderConfig
    start_from: str = ""
    """Folder of an encoder with its head below the storage root, whose weights are the initial ones; empty for those of ``config``."""
    cpus: float
    """CPUs of a rank."""
    gpu: bool
    """Whether each rank has a GPU."""
    micro_batch_size: int = 0
    """Largest number of images of one forward pass; 0 selects it by the GPU's memory."""
    recompute_activations: bool = False
    """Whether activations are recomputed in the backward pass."""
    compile: AutoOnOff = "auto"
    """Whether the encoder's blocks are compiled."""
    is_synthetic: bool = False
    """Whether the images are generated, which the model card says."""
    preempted_nodes: Callable[[], frozenset[str]] | None = None
    """Returns the IDs of nodes with a preemption notice; all ranks call it together. None where nodes are not preempted."""
    preemption_poll_s: float = 5.0
    """Interval at which ranks poll for preemption notices, in seconds."""

    def build_model(self) -> ExpressionModel:
        """The model with its initial weights."""
        model = ExpressionModel(self.config, self.storage.config)
        if self.start_from:
            with tempfile.TemporaryDirectory(prefix="abaw-encoder-") as folder:
                self.storage.download_folder(self.start_from, Path(folder))
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

    def choose_micro_batch_size(self, model: ExpressionModel, device: str) -> int:
        """The largest number of images of a pass, on every rank the same; all ranks call this together. Their GPUs may differ in memory."""
        if self.micro_batch_size:
            return self.micro_batch_size
        largest = model.largest_micro_batch(device, recompute=self.recompute_activations)
        images = torch.tensor(largest).to(device)
        dist.all_reduce(images, dist.ReduceOp.MIN)
        return int(images)
