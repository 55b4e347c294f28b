"""Settings of Stage I, without tensor libraries: a command that only reads settings starts quickly.

The architecture, which only timm can check, is checked when a job is planned and when the model is built: ``model.check_architecture``.
"""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.encoder.augmentation.config import AugmentConfig
from abaw_ray.training.config import LossConfig, OptimConfig

REVISION = 3
"""Raised when the same images and settings give another encoder; not for a mistake in settings that no preset has (``CHANGELOG.md`` names them)."""
INGEST_REVISION = 3
"""Raised when the same still images and settings give other ``IMAGE`` rows."""
Select = Literal["best", "last"]
"""Which epoch's encoder is used."""
Pool = Literal["own", "cls_mean"]
"""How the tokens of an image become its vector: see ``ModelConfig.pool``."""


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """Crop, size and JPEG quality of the stored still images. All values are ours."""

    classes: tuple[str, ...] = ENCODER_CLASSES
    """Names of the encoder's classes; a row's label is an index into them. Images of other expressions are skipped."""
    scale: float = 2.0
    """Side of the stored square over the longer side of the detector's box: the largest training scale, with a margin for shifts and rotations.
    Smaller where the picture ends sooner on three sides."""
    aligned_scale: float = 1.25
    """Scale assumed for a picture in which the detector finds no face and for which the data set has no box: side of the picture over the longer
    side of the box that the detector would give."""
    max_side: int = 448
    """Largest side of the stored square in pixels. The encoder's input size times ``scale`` over the smallest training scale loses no resolution."""
    quality: int = 92
    """JPEG quality."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ConfigError(f"ingest.classes={self.classes} must be two or more different names")
        if self.scale < 1 or self.aligned_scale <= 0 or self.max_side < 16:
            raise ConfigError(
                f"ingest.scale={self.scale} must be at least 1, aligned_scale={self.aligned_scale} above 0, max_side={self.max_side} at least 16 px"
            )
        if not 1 <= self.quality <= 100:
            raise ConfigError(f"ingest.quality={self.quality} must lie between 1 and 100")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The timm model and its initial weights. The architecture is the paper's, all else is ours."""

    name: str = "vit_large_patch14_dinov2.lvd142m"
    """Name of a plain vision Transformer in timm; the patch size is the architecture's."""
    img_size: int | None = 224
    """Side of the input in pixels, a multiple of the patch size; position embeddings of pretrained weights are resampled to it. None is timm's size
    for the model: 518 for DINOv2, for which 224 is the size of most of its pretraining and a fifth of the tokens."""
    pool: Pool = "own"
    """Vector of an image. ``own`` is what timm's model returns: the class token (DINOv2, CLIP), the mean of the patch tokens (DINOv3, EVA-02) or
    attention pooling (SigLIP). ``cls_mean`` joins the class token and the mean of the patch tokens, the input of DINOv2's linear classifiers (Oquab
    et al., 2023), twice as wide."""
    embed_dim: int | None = None
    """Width of a smaller model of the same kind; None keeps the architecture's own, which pretrained weights need."""
    depth: int | None = None
    """Number of blocks of a smaller model; None keeps the architecture's own."""
    num_heads: int | None = None
    """Attention heads of a smaller model; None keeps the architecture's own."""
    init_values: float | None = None
    """Initial value of LayerScale. None keeps the architecture's own (1e-5 for DINOv2, which suits pretrained weights); 0 removes LayerScale,
    which training from scratch needs."""
    drop_path_rate: float = 0.2
    """Stochastic depth of the last block, growing linearly from 0 at the first; in training only."""
    weights: str = "hub"
    """Initial weights: path or URI of a safetensors or PyTorch file with timm's or DINOv2's parameter names; ``hub`` for timm's own weights of
    this model on the model hub; ``owner/name`` for another repository there; ``random``."""
    pos_embed_std: float | None = None
    """Standard deviation of random initial position embeddings, with Xavier initialization of the other weights. At 0.3 a small model that
    learns from scratch leaves chance level about three epochs earlier than at timm's own 0.02. None keeps timm's initialization; pretrained
    weights are never changed. Ours."""
    mean: tuple[float, float, float] | None = None
    """Mean of red, green, blue in 0..1 for the normalization of pixels. None is timm's value for the model, with which its weights were trained."""
    std: tuple[float, float, float] | None = None
    """Standard deviation of red, green, blue for the normalization of pixels. None is timm's value for the model."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not self.weights:
            raise ConfigError("model.weights is empty; give a path, a URI, hub, a repository on the model hub (owner/name), or random")
        if (self.img_size is not None and self.img_size < 1) or not 0 <= self.drop_path_rate < 1 or (self.std is not None and min(self.std) <= 0):
            raise ConfigError(
                f"model.img_size={self.img_size} must be above 0, drop_path_rate={self.drop_path_rate} below 1 and std={self.std} above 0"
            )

    def timm_arguments(self, img_size: int) -> dict[str, Any]:
        """Arguments of ``timm.create_model`` other than the name, for an input of this size; without a classifier, so the output is a vector."""
        overrides = {"embed_dim": self.embed_dim, "depth": self.depth, "num_heads": self.num_heads}
        arguments: dict[str, Any] = {"img_size": img_size, "num_classes": 0}
        arguments |= {key: value for key, value in overrides.items() if value is not None}
        if self.init_values is not None:
            arguments["init_values"] = self.init_values  # 0.0, not None: timm drops arguments that are None
        return arguments


@dataclass(frozen=True, kw_only=True)
class MoeConfig:
    """The mixture-of-experts head. "A router sends each sample to several classifier experts" is the paper's; all values are ours."""

    num_experts: int = 4
    """Number of experts; 1 is a plain classifier."""
    top_k: int = 2
    """Number of experts that the router selects per sample."""
    hidden_dim: int = 256
    """Width of an expert's hidden layer. 0 makes each expert a linear classifier; a small encoder then learns from scratch in half the
    epochs."""
    aux_loss_weight: float = 0.01
    """Weight of the auxiliary load-balancing loss (the usual value: Fedus et al., Switch Transformers, 2021)."""
    dropout: float = 0.1
    """Dropout of the features before the experts."""

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if not 1 <= self.top_k <= self.num_experts:
            raise ConfigError(f"moe.top_k={self.top_k} must lie between 1 and moe.num_experts={self.num_experts}")
        if self.hidden_dim < 0 or self.aux_loss_weight < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"moe: hidden_dim={self.hidden_dim}, aux_loss_weight={self.aux_loss_weight} and dropout={self.dropout} (below 1) must be at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Stage I. The defaults are the paper's method as far as it is published; every value without a source is ours."""

    path: str = ""
    """An encoder to use instead of training one: path or URI of a folder as timm saves it, of an earlier output of Stage I, or of a model bundle;
    ``owner/name`` for one on the model hub. Of the other settings of Stage I, only ``model.pool`` then has an effect, and only where the folder does
    not state it. Empty trains an encoder."""
    ingest: IngestConfig = field(default_factory=IngestConfig)
    """Storage of the still images: a stage of its own, whose results depend on nothing else here."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The encoder."""
    moe: MoeConfig = field(default_factory=MoeConfig)
    """The classification head."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Augmentation of training images, including PadAug."""
    loss: LossConfig = field(default_factory=LossConfig)
    """Class balancing and label smoothing."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and learning rate schedule."""
    source_weights: tuple[str, ...] = ()
    """Factors of the loss of the images of a data set, as ``<data set>=<factor>``: ``rafdb=2``; 1 for the others. Every image still occurs once per
    epoch. Class balancing counts an image by its factor. Ours."""
    epochs: int = 10
    """Passes over the training images; ours, not from the paper."""
    global_batch_size: int = 256
    """Images of a step, over all ranks and micro-batches (``compute.micro_batch_size``); ours, not from the paper."""
    ema_decay: float = 0.999
    """Decay per step of the exponential moving average of the weights, which is validated and saved; 0 uses the weights of the last step. Ours."""
    select: Select = "best"
    """Epoch whose encoder is used: the one with the highest mean over the data sets of the macro-F1 of validation images, or the last one. The other
    one is kept beside it. Ours: the paper does not say which epoch it uses."""
    probe_images_per_class: int = 500
    """Training images of each class, at most, for the linear probe of the encoder after the last epoch; 0 for no probe. Ours."""
    no_face: Literal["skip", "whole"] = "skip"
    """Training images in which the detector finds no face: ``skip``, because features are never computed of such images, or ``whole``, the stored
    picture at its assumed scale. Validation uses all images, so that its scores are those of the whole data set. Ours."""
    zero_stage: Literal[0, 1, 2] = 1
    """DeepSpeed's ZeRO stage: 0 replicates everything, 1 partitions the optimizer state over the ranks, 2 the gradients too.
    With 0 in bf16, the gradients of several micro-batches are summed in bf16; 1 and 2 sum them in float32."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the model: ``auto`` is bf16 on GPUs and float32 on CPUs. DeepSpeed keeps float32 master weights."""
    seed: int = 0
    """Seed of initial weights, order of samples, augmentation and stochastic depth."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, before any machine is started."""
        for name in ("epochs", "global_batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}={getattr(self, name)} must be at least 1")
        parse_source_weights(self.source_weights)
        if self.probe_images_per_class < 0:
            raise ConfigError(f"probe_images_per_class={self.probe_images_per_class} must be at least 0")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay={self.ema_decay} must be at least 0 and below 1")
        if self.augment.scales[1] > self.ingest.scale:
            raise ConfigError(f"augment.scales={self.augment.scales} exceed ingest.scale={self.ingest.scale}: the stored images are not large enough")

    def check_world_size(self, world_size: int) -> None:
        """Refuse a number of ranks that does not divide the batch.

        Raises:
            ConfigError: the number of ranks does not divide ``global_batch_size``.
        """
        if self.global_batch_size % world_size:
            raise ConfigError(
                f"global_batch_size={self.global_batch_size} cannot be divided among {world_size} workers; choose a multiple of {world_size}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the encoder's classes."""
        return self.ingest.classes


def parse_source_weights(pairs: tuple[str, ...]) -> dict[str, float]:
    """Data set -> factor of the loss of its images.

    Raises:
        ConfigError: a pair has another form, a factor is not above 0, or a data set occurs twice.
    """
    weights: dict[str, float] = {}
    for pair in pairs:
        name, _, factor = pair.rpartition("=")
        try:
            weight = float(factor)
        except ValueError:
            weight = math.nan
        if not name or not 0 < weight < math.inf:
            raise ConfigError(f"encoder.source_weights: '{pair}' is not <data set>=<factor above 0>; write for example rafdb=2")
        if name in weights:
            raise ConfigError(f"encoder.source_weights: '{name}' is given twice; leave one of the two out")
        weights[name] = weight
    return weights
