"""On how much the stages run. Never part of a stage's settings: more workers, same results, same address."""

from dataclasses import dataclass, field

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.watched import Limits


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Workers of each stage and what each is given. All defaults are ours and fit two cores without a GPU."""

    cpus: int = 0
    """CPUs of a Ray that is started in-process, 0 for all of this machine; ignored where a cluster is there already."""
    item_workers: int = 0
    """Actors that decode videos or read images, one CPU each; 0 for as many as there are CPUs."""
    feature_workers: int = 0
    """Actors that extract features; 0 for as many as there are GPUs for, or CPUs where they use none."""
    item_memory_gb: float = 1.0
    """Heap asked for by each such actor; Ray itself counts only CPUs and its object store."""
    limits: Limits = field(default_factory=Limits)
    """What the child process that decodes for such an actor may do before it is given up."""
    piece_minutes: float = 4.0
    """A video that would hold up the others is divided among workers, in pieces of about so many minutes; 0 divides none."""
    feature_gpus: float = 0.0
    """GPUs of an actor that extracts features."""
    train_workers: int = 2
    """Ranks of the encoder's training."""
    cpus_per_worker: float = 1.0
    """CPUs of a training rank."""
    gpus_per_worker: float = 0.0
    """GPUs of a training rank; 0 trains with gloo on CPUs."""
    trials: int = 2
    """Trials of the sweep at the same time."""
    cpus_per_trial: float = 1.0
    """CPUs of a trial."""
    gpus_per_trial: float = 0.0
    """GPUs of a trial; a fraction packs several trials on one."""
    object_store_mb: int = 300
    """Shared memory of a Ray that is started in-process; only manifest rows and sweep arrays pass through it."""

    def __post_init__(self) -> None:
        """Refuse what could never be scheduled."""
        for name in ("train_workers", "trials"):
            if getattr(self, name) < 1:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be at least 1")
        for name in ("cpus", "item_workers", "feature_workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be 0 (all) or more")
        if self.piece_minutes < 0:
            raise ConfigError(f"compute.piece_minutes={self.piece_minutes} must be 0 or more")
        if self.object_store_mb < 80:
            raise ConfigError(f"compute.object_store_mb={self.object_store_mb} is below Ray's minimum of 80")


LAPTOP = Compute()
"""Two cores, no GPU."""
