"""What the parts of the GPU benchmark share: sizes, synthetic images, a timer that synchronizes the GPU, and the GPU's ceiling."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.stills import render_aligned
from abaw_ray.encoder.config import EncoderConfig, ModelConfig
from abaw_ray.faces.config import ChipConfig

FORWARD = 162e9
"""FLOPs of a forward pass of ViT-L/14 for one image of 224 pixels; a backward pass takes twice as many."""
_DISTINCT_IMAGES = 64
"""Number of different images; each is used many times."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Sizes and settings of the measurement."""

    folder: Path
    """Folder for images, checkpoints and encoders."""
    cpus: int
    """CPUs of a worker."""
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(model=ModelConfig(weights="random"), epochs=2))
    """Settings of the paper, with random weights."""
    chips: ChipConfig = field(default_factory=ChipConfig)
    """The paper's three scales."""
    images: int = 5_120
    """Training images: 20 steps per epoch."""
    steps: int = 20
    """Steps timed in this process."""
    frames: int = 4096
    """Number of chips, and of frames of the video."""
    matrix: int = 8192
    """Size of the matrices that measure the ceiling."""

    @classmethod
    def tiny(cls, folder: Path, cpus: int) -> "Work":
        """Return sizes that are only large enough to test the benchmark itself."""
        model = ModelConfig(name="vit_small_patch14_dinov2", img_size=28, embed_dim=32, depth=2, num_heads=2, weights="random")
        encoder = EncoderConfig(model=model, epochs=2, global_batch_size=16)
        return cls(folder=folder, cpus=cpus, encoder=encoder, chips=ChipConfig(size=28), images=64, steps=3, frames=40, matrix=256)

    @property
    def device(self) -> str:
        """The GPU, or the CPU without one."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def bf16(self) -> bool:
        """Whether the model is in bf16, as in the jobs on GPUs."""
        return self.device == "cuda"


def synthetic_images(side: int) -> list[np.ndarray]:
    """Return synthetic faces, ``side side 3``, RGB, with sensor noise: without it, JPEGs are too small and too fast to decode."""
    config, rng, images = replace(SyntheticConfig(), seed=0), np.random.default_rng(0), []
    for number in range(_DISTINCT_IMAGES):
        face = cv2.resize(render_aligned(config, f"bench-{number}", "Happiness").image, (side, side), interpolation=cv2.INTER_CUBIC)
        images.append(np.clip(face + rng.normal(0, 4, face.shape), 0, 255).astype(np.uint8))
    return images


def median_seconds(call: Callable[[], object], times: int, warmup: int = 3) -> float:
    """Return the median duration of a call including the GPU's work, after ``warmup`` calls."""
    seconds = []
    for number in range(warmup + times):
        synchronize()
        start = time.perf_counter()
        call()
        synchronize()
        if number >= warmup:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def synchronize() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def share_of_ceiling(images: float, passes: int, raw: dict) -> float | None:
    """Return the share of the GPU's ceiling for images per second, each of ``passes`` forward passes; None if the ceiling was not measured."""
    tflops = raw.get("ceiling", {}).get("tflops")
    return images * passes * FORWARD / (tflops * 1e12) if tflops else None


def measure_ceiling(work: Work) -> dict:
    """Return the TFLOP/s of a bf16 matrix product on random data."""
    n = work.matrix
    left, right = (torch.randn(n, n, device=work.device, dtype=torch.bfloat16) for _ in range(2))
    return {"tflops": 2 * n**3 / median_seconds(lambda: left @ right, 10) / 1e12}
