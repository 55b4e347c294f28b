"""All settings of Stage I in one place, as its job and its record name them."""

from dataclasses import dataclass, field
from typing import Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.augment import AugmentConfig
from abaw_ray.encoder.ingest import IngestConfig
from abaw_ray.encoder.model import ModelConfig
from abaw_ray.encoder.moe import MoeConfig
from abaw_ray.training.losses import LossConfig
from abaw_ray.training.optim import OptimConfig

REVISION = 1
"""Raised when the same images and settings give another encoder."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Stage I. The defaults are the paper's method as far as it is published; every number without a source is ours."""

    ingest: IngestConfig = field(default_factory=IngestConfig)
    """How images are stored; a stage of its own, whose home depends on nothing else here."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The encoder."""
    moe: MoeConfig = field(default_factory=MoeConfig)
    """The head."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What training changes in an image, PadAug among it."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Class balance and label smoothing."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Rates and decays."""
    epochs: int = 10
    """Passes over the training images; ours, not from the paper."""
    global_batch: int = 256
    """Images of a step, all workers together; ours, not from the paper."""
    piece: int = 64
    """Images that go through the model at once on one worker; a worker's larger share of the batch is taken in pieces."""
    zero: Literal[0, 1, 2] = 1
    """DeepSpeed's ZeRO stage: 0 every worker holds all, 1 optimiser state shared out, 2 gradients too."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the model: ``auto`` is bf16 on GPUs and float32 on CPUs. DeepSpeed keeps float32 master weights."""
    recompute: bool = False
    """Compute activations again in the backward pass: less memory, a third more work."""
    seed: int = 0
    """Of weights, order, augmentation and stochastic depth."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, before any machine is paid for."""
        for name in ("epochs", "global_batch", "piece"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        if self.augment.scales[1] > self.ingest.scale:
            raise ConfigError(
                f"augment.scales={self.augment.scales} go beyond ingest.scale={self.ingest.scale}: the stored images are not large enough"
            )

    def check_ranks(self, ranks: int) -> None:
        """Refuse a number of ranks that cannot share the batch.

        Raises:
            ConfigError: it does not divide ``global_batch``.
        """
        if self.global_batch % ranks:
            raise ConfigError(f"global_batch={self.global_batch} cannot be shared by {ranks} workers; choose a multiple of {ranks}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the encoder's own classes."""
        return self.ingest.classes
