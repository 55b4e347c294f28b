"""On how much the stages run. Never part of a stage's settings: more workers, same results, same address."""

from dataclasses import dataclass

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Workers of each stage and what each is given. All defaults are ours and fit two cores without a GPU."""

    cpus: int = 2
    """CPUs of a Ray that is started in-process; ignored where a cluster is there already."""
    item_workers: int = 2
    """Actors that decode videos or extract features, one CPU each."""
    item_memory_gb: float = 1.0
    """Heap asked for by each such actor; Ray itself counts only CPUs and its object store."""
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
        for name in ("cpus", "item_workers", "train_workers", "trials"):
            if getattr(self, name) < 1:
                raise ConfigError(f"compute.{name}={getattr(self, name)} must be at least 1")
        if self.object_store_mb < 80:
            raise ConfigError(f"compute.object_store_mb={self.object_store_mb} is below Ray's minimum of 80")


LAPTOP = Compute()
"""Two cores, no GPU."""
