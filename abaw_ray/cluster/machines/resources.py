"""Resources that one stage requests: a number of workers, and the CPUs, GPUs and memory of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.units import gib


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Workers of one size. All defaults are ours."""

    workers: int = 0
    """Number of workers; 0 for as many as fit on the cluster."""
    cpus: float = 1.0
    """CPUs of each worker."""
    gpus: float = 0.0
    """GPUs of each worker; a fraction shares one GPU among several workers."""
    memory_gb: float = 1.0
    """Heap memory of each worker in GiB. Ray schedules by it and does not enforce it."""

    def check(self, path: str, *, min_workers: int = 0) -> None:
        """Check for sizes that can never be scheduled.

        Args:
            path: Dotted name of these settings, for the message.
            min_workers: Smallest number of workers; 0 allows "as many as fit".

        Raises:
            ConfigError: a value is out of range; the message names its path.
        """
        if self.workers < min_workers:
            raise ConfigError(f"{path}.workers={self.workers} must be {f'at least {min_workers}' if min_workers else '0 (as many as fit) or more'}")
        if self.gpus < 0:
            raise ConfigError(f"{path}.gpus={self.gpus} must be 0 or more")
        for name in ("cpus", "memory_gb"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{path}.{name}={getattr(self, name)} must be above 0")

    @property
    def memory(self) -> int:
        """Memory of each worker in bytes."""
        return gib(self.memory_gb)

    @property
    def request(self) -> dict[str, float]:
        """Request of one worker, by Ray's resource names; amounts of 0 are left out."""
        return {name: value for name, value in (("CPU", self.cpus), ("GPU", self.gpus), ("memory", self.memory)) if value}

    @property
    def task_options(self) -> dict[str, Any]:
        """The same as options of ``ray.remote``."""
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory}

    def per_machine(self, available: Mapping[str, float]) -> int:
        """Number of these workers that fit on one machine.

        Args:
            available: Its resources by Ray's names. Memory that a cluster file does not state is no limit.
        """
        request = {name: value for name, value in self.request.items() if name != "memory" or name in available}
        return min((int(round(available.get(name, 0) / value, 6)) for name, value in request.items()), default=0)

    @property
    def size_text(self) -> str:
        """Size of one worker for messages: ``8 CPU + 1 GPU + 8 GB``."""
        amounts = [(self.cpus, "CPU"), (self.gpus, "GPU"), (self.memory_gb, "GB")]
        return " + ".join(f"{value:g} {name}" for value, name in amounts if value)

    def __str__(self) -> str:
        """For the plan: ``4 x 8 CPU + 1 GPU + 8 GB``."""
        return f"{self.workers or 'up to all'} x {self.size_text}"
