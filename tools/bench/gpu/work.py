"""What the parts of the benchmark share: the settings, drawn pictures of the real sizes, a clock for a card, and the card's ceiling."""

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
from abaw_ray.faces.chips import ChipConfig

FORWARD = 162e9
"""Operations of ViT-L/14 for one image of 224 pixels (multiply and add counted), forward; backward is twice as much."""
_DISTINCT = 64
"""Pictures that are drawn; each is used many times."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much is done."""

    folder: Path
    """For images, checkpoints and encoders."""
    cpus: int
    """Of a worker."""
    encoder: EncoderConfig = field(default_factory=lambda: EncoderConfig(model=ModelConfig(weights=""), epochs=2))
    """Settings of the paper, with random weights."""
    chips: ChipConfig = field(default_factory=ChipConfig)
    """The paper's three scales."""
    images: int = 5_120
    """Training images: 20 steps an epoch."""
    steps: int = 20
    """Steps timed in this process."""
    frames: int = 4096
    """Chips encoded, and frames of the video."""
    matrix: int = 8192
    """Side of the matrices of the ceiling."""

    @classmethod
    def tiny(cls, folder: Path, cpus: int) -> "Work":
        """Enough to see whether it runs."""
        model = ModelConfig(name="vit_small_patch14_dinov2", img_size=28, embed_dim=32, depth=2, num_heads=2, weights="")
        encoder = EncoderConfig(model=model, epochs=2, global_batch_size=16, micro_batch_size=8)
        return cls(folder=folder, cpus=cpus, encoder=encoder, chips=ChipConfig(size=28), images=64, steps=3, frames=40, matrix=256)

    @property
    def device(self) -> str:
        """The card, or the CPU where there is none."""
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def bf16(self) -> bool:
        """Whether the model is in bf16, as the jobs have it on GPUs."""
        return self.device == "cuda"


def pictures(side: int) -> list[np.ndarray]:
    """Drawn faces of this side in pixels, RGB, with a camera's grain, without which a JPEG would be too small and too quick."""
    config, rng, out = replace(SyntheticConfig(), seed=0), np.random.default_rng(0), []
    for number in range(_DISTINCT):
        face = cv2.resize(render_aligned(config, f"bench-{number}", "Happiness").image, (side, side), interpolation=cv2.INTER_CUBIC)
        out.append(np.clip(face + rng.normal(0, 4, face.shape), 0, 255).astype(np.uint8))
    return out


def timed(call: Callable[[], object], times: int, warm: int = 3) -> float:
    """Median of the seconds of a call, the card's work included, after some calls that do not count."""
    seconds = []
    for number in range(warm + times):
        finish()
        begun = time.perf_counter()
        call()
        finish()
        if number >= warm:
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def finish() -> None:
    """Wait for the card."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def of_ceiling(images: float, passes: int, raw: dict) -> float | None:
    """Share of the card's ceiling that so many images a second are, each in so many forward passes' work; None where it was not measured."""
    tflops = raw.get("ceiling", {}).get("tflops")
    return images * passes * FORWARD / (tflops * 1e12) if tflops else None


def ceiling(work: Work) -> dict:
    """Operations a second of a bf16 matrix product, on random data."""
    n = work.matrix
    left, right = (torch.randn(n, n, device=work.device, dtype=torch.bfloat16) for _ in range(2))
    return {"tflops": 2 * n**3 / timed(lambda: left @ right, 10) / 1e12}
