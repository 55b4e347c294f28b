"""On what the feature models run. Never part of a stage's settings: the same features, however fast.

On a GPU both models run in bfloat16, on a CPU in float32; the vectors agree to about two digits and are stored in half precision.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import torch

from abaw_ray.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class DeviceConfig:
    """Where one worker computes; all values ours."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto`` takes the GPU that the worker was given, else the CPU."""
    threads: int = 1
    """Threads of one operation on a CPU; one a worker, since more workers give more than more threads."""
    images: int = 96
    """Crops of one pass through the encoder: a bound on memory."""
    sounds: int = 2
    """Stretches (or, in mode ``windows``, eight times as many windows) of one pass through Wav2Vec 2.0: a bound on memory, about 0.4 GiB
    for each stretch of 20 s with the published base model."""
    readers: int = 0
    """Threads that decode and cut chips ahead of the encoder; 0 decodes between two passes, as suits a CPU, which is busy either way."""

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        for name in ("threads", "images", "sounds"):
            if getattr(self, name) < 1:
                raise ConfigError(f"device.{name}={getattr(self, name)} must be at least 1")
        if self.readers < 0 or self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device.readers={self.readers} must not be negative, device.device={self.device} be auto, cpu or cuda")


def use(config: DeviceConfig) -> torch.device:
    """Set this process's threads and return its device.

    Raises:
        ConfigError: a GPU is asked for and none is there.
    """
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise ConfigError("device.device=cuda, but this process sees no GPU; give its worker one, or use auto")
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    return torch.device("cuda" if there and config.device != "cpu" else "cpu")
