"""On how much the stages run. Never part of a stage's settings: more workers, same results, same address."""

import re
from dataclasses import dataclass, field

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child_process import ChildLimits


@dataclass(frozen=True, kw_only=True)
class ComputeConfig:
    """Workers of each stage and what each is given. All defaults are ours and fit two cores without a GPU."""

    cpus: int = 0
    """CPUs of a Ray that is started in-process, 0 for all of this machine; ignored where a cluster is there already."""
    item_workers: int = 0
    """Actors that decode videos or read images, one CPU each; 0 for as many as there are CPUs."""
    feature_workers: int = 0
    """Actors that extract features; 0 for as many as there are GPUs for, or CPUs where they use none."""
    item_memory_gb: float = 1.0
    """Heap asked for by each such actor; Ray itself counts only CPUs and its object store."""
    limits: ChildLimits = field(default_factory=ChildLimits)
    """What the child process that decodes for such an actor may do before it is given up."""
    piece_minutes: float = 4.0
    """A video that would hold up the others is divided among workers, in pieces of about so many minutes; 0 divides none."""
    feature_memory_gb: float = 1.0
    """Heap asked for by each actor that extracts features; ViT-L/14 in float32 needs about 4."""
    feature_gpus: float = 0.0
    """GPUs of an actor that extracts features."""
    feature_cpus: float = 1.0
    """CPUs of an actor that extracts features; beside a GPU, all but one decode and cut chips ahead of the encoder."""
    train_workers: int = 2
    """Ranks of the encoder's training."""
    cpus_per_worker: float = 1.0
    """CPUs of a training rank."""
    gpus_per_worker: float = 0.0
    """GPUs of a training rank; 0 trains with gloo on CPUs."""
    train_memory_gb: float = 1.0
    """Heap asked for by each training rank; ViT-L/14 needs about 8, six of them for its weights and their optimiser where it has no GPU."""
    preemption_poll_s: float = 5.0
    """Interval at which ranks poll for preemption notices on a cluster, in seconds; on a notice they write a checkpoint: 4.3 GB for ViT-L/14,
    6 s to a local disk, plus the upload. AWS gives notice two minutes ahead, Google half a minute. Ours."""
    trials: int = 2
    """Trials of the sweep at the same time."""
    cpus_per_trial: float = 1.0
    """CPUs of a trial."""
    gpus_per_trial: float = 0.0
    """GPUs of a trial; a fraction packs several trials on one."""
    trial_memory_gb: float = 1.0
    """Heap asked for by each trial; the features themselves lie in shared memory."""
    object_store_mb: int = 300
    """Shared memory of a Ray that is started in-process, 0 for as much as Ray would take by itself. Manifest rows and the features of all frames
    that a sweep trains on pass through it: 9.3 GB for all of Aff-Wild2 at the paper's widths."""

    def __post_init__(self) -> None:
        """Refuse what could never be scheduled."""
        for name in ("train_workers", "trials"):
            if getattr(self, name) < 1:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be at least 1")
        for name in ("cpus", "item_workers", "feature_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be 0 (all) or more")
        for name in ("piece_minutes", "preemption_poll_s", "feature_gpus", "gpus_per_worker", "gpus_per_trial"):
            if getattr(self, name) < 0:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be 0 or more")
        memories = ("item_memory_gb", "feature_memory_gb", "train_memory_gb", "trial_memory_gb")
        for name in (*memories, "feature_cpus", "cpus_per_worker", "cpus_per_trial"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be above 0")
        if self.object_store_mb and self.object_store_mb < 80:
            raise ConfigError(f"compute.object_store_mb={self.object_store_mb} is below Ray's minimum of 80; 0 leaves it to Ray")


LAPTOP = ComputeConfig()
"""Two cores, no GPU."""


def compute_preset(name: str) -> ComputeConfig:
    """The settings for a machine or cluster that is described in a word; all numbers are ours.

    Args:
        name: ``laptop``; ``cpu-N`` for N CPUs, of one machine or many; ``gpu-MxK`` for M machines with K GPUs each, and at least four CPUs for
            each GPU. Other CPUs that are there decode videos.

    Raises:
        ConfigError: it is none of these.
    """
    if name == "laptop":
        return LAPTOP
    if found := re.fullmatch(r"cpu-([1-9]\d*)", name):
        cpus = int(found[1])
        ranks = 1 << (cpus.bit_length() - 1)  # divides a global batch that is a power of two
        return ComputeConfig(cpus=cpus, feature_memory_gb=4.0, train_workers=ranks, trials=cpus)
    if found := re.fullmatch(r"gpu-([1-9]\d*)x([1-9]\d*)", name):
        gpus = int(found[1]) * int(found[2])
        return ComputeConfig(
            feature_workers=gpus,
            feature_memory_gb=4.0,
            feature_gpus=1.0,
            feature_cpus=4.0,
            train_workers=gpus,
            cpus_per_worker=4.0,
            gpus_per_worker=1.0,
            train_memory_gb=8.0,
            trials=2 * gpus,
            gpus_per_trial=0.5,
            trial_memory_gb=2.0,
            object_store_mb=0,
        )
    raise ConfigError(f"--on {name} is no shape; say laptop, cpu-8 (eight CPUs in all) or gpu-4x2 (four machines with two GPUs each)")
