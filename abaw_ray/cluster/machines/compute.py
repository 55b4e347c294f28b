"""Number and size of the workers of the stages. Not part of any stage's settings: the number of workers changes neither results nor addresses."""

import re
from dataclasses import dataclass, field
from typing import get_args

from abaw_ray.cluster.machines.recovery import RecoveryConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.core.settings import AutoOnOff


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Workers of each kind of work. All defaults are ours and fit two cores without a GPU."""

    local_cpus: int = 0
    """CPUs of a Ray that is started in this process, 0 for all of this machine; ignored where a cluster is joined."""
    decode: Resources = field(default_factory=Resources)
    """Actors that decode videos or read images. Without GPUs."""
    features: Resources = field(default_factory=Resources)
    """Actors that extract features. With a GPU, all CPUs but one prefetch chips for the encoder. ViT-L/14 in float32 needs about 4 GB."""
    prefetch: AutoOnOff = "auto"
    """Whether a worker that extracts features, or scores videos on a GPU, reads the next video while it computes one: its table of faces to the local
    disk, its audio into memory (230 MB per hour of video). ``auto``: where workers have GPUs."""
    training: Resources = field(default_factory=lambda: Resources(workers=2))
    """Ranks of the encoder's training; without GPUs they use gloo. A rank of ViT-L/14 needs about 8 GB; without a GPU, 6 GB of these are weights and
    optimizer state."""
    micro_batch_size: int = 0
    """Largest number of images of one forward pass on a rank; gradients of further passes are accumulated, so the result does not depend on it. 0
    selects it by the GPU's memory: for ViT-L/14 256 with 140 GB, 128 with 80 GB, 32 with 24 GB."""
    recompute_activations: bool = False
    """Recompute activations in the backward pass of the training: less memory, a third more computation, the same result."""
    compile: AutoOnOff = "auto"
    """Compile the encoder's blocks (``torch.compile``) in training and feature extraction. ``auto`` does so on GPUs where a C compiler and Python's
    headers are installed; ``on`` also on CPUs, with a C++ compiler; ``off`` never. The result agrees to the precision of the arithmetic."""
    fusion: Resources = field(default_factory=lambda: Resources(workers=2))
    """Concurrent trials of the sweep, and the tasks that train the final models and predict. Features use shared memory in addition."""
    limits: ChildLimits = field(default_factory=ChildLimits)
    """Limits of the child process that decodes for a worker."""
    chunk_minutes: float = 4.0
    """Videos longer than their fair share of the work are divided among workers in chunks of about this length; 0 divides none."""
    preemption_poll_s: float = 5.0
    """Interval at which ranks poll for preemption notices, in seconds. After a notice they write a checkpoint: 4.3 GB for ViT-L/14, 6 s to a local
    disk, plus the upload. AWS gives two minutes of notice, Google half a minute."""
    log_every_n_steps: int = 50
    """Steps of the encoder's training between two values of its metrics, and between two lines on the terminal, which are at least five seconds
    apart; 0 for one of each per epoch. Ours."""
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    """When the encoder's training waits for machines, continues with fewer, or gives up."""
    on_demand_after_minutes: float = 30.0
    """Time in which no machine runs for workers of a size, before the cluster starts one of a type labelled ``abaw-pool: on-demand``, where its file
    lists one; 0 for never."""
    object_store_mb: int = 300
    """Shared memory of a Ray that is started in this process, 0 for Ray's own default. Manifest rows and the features of all frames that a sweep
    trains on pass through it: 5.6 GB for Train_Set and Validation_Set of Aff-Wild2 at the paper's widths."""

    @property
    def videos_per_features_worker(self) -> int:
        """Videos that a worker of ``features`` holds at the same time: 2 where the next one is prefetched."""
        return 2 if self.prefetch == "on" or (self.prefetch == "auto" and self.features.gpus) else 1

    def __post_init__(self) -> None:
        """Check for values that can never be scheduled."""
        for name, min_workers in (("decode", 0), ("features", 0), ("training", 1), ("fusion", 1)):
            getattr(self, name).check(f"compute.{name}", min_workers=min_workers)
        self.recovery.check("compute.recovery")
        for name in ("local_cpus", "chunk_minutes", "preemption_poll_s", "micro_batch_size", "log_every_n_steps", "on_demand_after_minutes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be 0 or more")
        for name in ("prefetch", "compile"):
            if getattr(self, name) not in get_args(AutoOnOff):
                raise ConfigError(f"compute.{name}={getattr(self, name)}: choose auto, on or off")
        if self.object_store_mb and self.object_store_mb < 80:
            raise ConfigError(f"compute.object_store_mb={self.object_store_mb} is below Ray's minimum of 80; 0 selects Ray's default")


LAPTOP = ComputeConfig()
"""Two cores, no GPU."""


def compute_preset(name: str) -> ComputeConfig:
    """The settings for a machine or cluster, by the name of its size; all numbers are ours.

    Args:
        name: ``laptop``; ``cpu-N`` for N CPUs, of one machine or many; ``gpu-MxK`` for M machines with K GPUs each, and at least four CPUs for
            each GPU. Further CPUs decode videos.

    Raises:
        ConfigError: the name is none of these.
    """
    if name == "laptop":
        return LAPTOP
    if match := re.fullmatch(r"cpu-([1-9]\d*)", name):
        cpus = int(match[1])
        ranks = 1 << (cpus.bit_length() - 1)  # divides a global batch that is a power of two
        return ComputeConfig(local_cpus=cpus, features=Resources(memory_gb=4.0), training=Resources(workers=ranks), fusion=Resources(workers=cpus))
    if match := re.fullmatch(r"gpu-([1-9]\d*)x([1-9]\d*)", name):
        gpus = int(match[1]) * int(match[2])
        return ComputeConfig(
            features=Resources(workers=gpus, cpus=4.0, gpus=1.0, memory_gb=4.0),
            training=Resources(workers=gpus, cpus=4.0, gpus=1.0, memory_gb=8.0),
            fusion=Resources(workers=2 * gpus, gpus=0.5, memory_gb=2.0),  # one trains while the other selects the smoothing on CPUs
            object_store_mb=0,
        )
    raise ConfigError(f"--cluster-size {name} is unknown; choose laptop, cpu-8 (eight CPUs in all) or gpu-4x2 (four machines with two GPUs each)")
