"""The training step of Stage I: sample indices -> pixels -> loss, and the metrics on the validation images.

Everything is a function of (seed, step, image) and independent of the number of ranks. This module imports neither DeepSpeed nor Ray.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from abaw_ray.core.errors import DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.augmentation.view import center_crop, random_crop
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet
from abaw_ray.encoder.metrics import ValidationSums
from abaw_ray.encoder.model import Encoder, build_encoder, layer_of
from abaw_ray.encoder.moe import ExpertLoad, MoeHead, MoeOutput, identity
from abaw_ray.encoder.noise import Noise, NoiseSizes, draw_noise, set_noise, use_stochastic_depth
from abaw_ray.training.loop import prefetch
from abaw_ray.training.losses import ClassLoss
from abaw_ray.training.optim import parameter_groups
from abaw_ray.training.sampler import Sampler


class MicroBatch(NamedTuple):
    """Images of one forward and backward pass on one rank."""

    pixels: UInt8[Tensor, "n 3 size size"]
    labels: Int[Tensor, " n"]
    noise: Noise
    """Random numbers of these samples."""
    loss_scale: float
    """Factor of the sum of weighted losses; with it, the mean over ranks and micro-batches is the loss of the global batch."""
    is_last: bool
    """Whether it is the last one of the step on this rank."""


@dataclass(frozen=True, kw_only=True)
class RankContext:
    """Position of a process among the ranks of a training."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"
    mean_over_ranks: Callable[[Tensor], Tensor] = identity
    """Mean of a vector over the ranks."""
    micro_batch_size: int = 0
    """Largest number of images of one forward pass, the same on all ranks; 0 for all of a rank's images."""


class ExpressionModel(nn.Module):
    """Encoder and classification head as they are trained."""

    def __init__(self, config: EncoderConfig, storage: StorageConfig | None = None) -> None:
        """Build with weights initialised from the seed, or loaded; ``storage`` has the settings of object stores, for weights at a URI."""
        super().__init__()
        torch.manual_seed(config.seed)
        self.encoder: Encoder = build_encoder(config.model, storage)
        self._depth_layers = use_stochastic_depth(self.encoder.vit)
        self.head = MoeHead(self.encoder.dim, len(config.classes), config.moe)

    def forward(self, pixels: UInt8[Tensor, "n 3 size size"], noise: Noise | None = None) -> MoeOutput:
        """Logits, router probabilities and gate; in training with stochastic depth or dropout, ``noise`` has the random numbers of these samples."""
        set_noise(self._depth_layers, None if noise is None else noise.paths)
        return self.head(self.encoder(pixels), noise.features if noise is not None and self.head.config.dropout else None)

    @property
    def noise_sizes(self) -> NoiseSizes:
        """Random numbers that it needs per sample in training."""
        return NoiseSizes(paths=len(self._depth_layers), features=self.encoder.dim if self.head.config.dropout else 0)

    def parameter_groups(self, config: EncoderConfig) -> list[dict]:
        """Parameter groups with layer-wise learning rate decay; the layers are the embeddings, each block, and everything after the blocks."""
        layers = self.encoder.depth + 2

        def layer(name: str) -> int:
            index = layer_of(name.removeprefix("encoder.vit.")) if name.startswith("encoder.") else None
            return layers - 1 if index is None else index

        def no_decay(name: str, parameter: nn.Parameter) -> bool:
            return name.split(".")[-1] in ("pos_embed", "cls_token", "reg_token") or name.endswith("_bias")

        return parameter_groups(self.named_parameters(), config.optim, layer_of=layer, layers=layers, no_decay=no_decay)


class EncoderTask:
    """Micro-batches, loss and validation of one rank."""

    def __init__(self, config: EncoderConfig, images: ImageSet, context: RankContext | None = None, *, noise_sizes: NoiseSizes | None = None) -> None:
        """Select the rows of both splits and count the classes of the training images.

        Args:
            config: Settings of the training.
            images: All images.
            context: Position among the ranks.
            noise_sizes: Random numbers that the model needs per sample.

        Raises:
            ConfigError: the number of ranks does not divide the batch.
            DataError: a split is empty.
        """
        cv2.setNumThreads(1)
        self.config, self.images, self.context = config, images, context or RankContext()
        self.train, self.val = images.rows("train", with_face=config.no_face == "skip"), images.rows("val")
        if len(self.train) == 0 and len(images.rows("train")):
            raise DataError("images: no face was found in any training image; set encoder.no_face to whole, or choose another detector")
        for name, rows in (("train", self.train), ("val", self.val)):
            if len(rows) == 0:
                raise DataError(f"images: the '{name}' split is empty; Stage I trains on one and is validated on the other")
        config.check_world_size(self.context.world_size)
        self.sampler = Sampler(size=len(self.train), global_batch_size=config.global_batch_size, seed=config.seed)
        self.loss = ClassLoss(config.loss, images.labels[self.train], len(config.classes))
        self.expert_load = ExpertLoad(config.moe.num_experts, self.context.device)
        self.noise_sizes = noise_sizes or NoiseSizes()

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.sampler.steps_per_epoch

    @property
    def gradient_accumulation_steps(self) -> int:
        """Number of equally large micro-batches of a rank in a step."""
        local_batch_size = self.config.global_batch_size // self.context.world_size
        return count_micro_batches(local_batch_size, self.context.micro_batch_size or local_batch_size)

    def seed(self, step: int) -> int:
        """Seed of PyTorch's random numbers in a step, for layers other than those that ``noise`` serves."""
        return int(np.random.SeedSequence([self.config.seed, step]).generate_state(1)[0])

    def micro_batches(self, step: int) -> list[MicroBatch]:
        """Samples of a step on this rank, in micro-batches."""
        labels, context, count = self.images.labels, self.context, self.gradient_accumulation_steps
        rows = self.train[self.sampler.indices(step)]
        scale = context.world_size * count / self.loss.weight_sum(labels[rows])
        noise = draw_noise(self.config.seed, step, len(rows), self.noise_sizes)
        size = len(rows) // context.world_size // count

        def micro_batch(number: int) -> MicroBatch:
            start = (context.rank * count + number) * size
            samples = slice(start, start + size)
            pixels = self._stack([self._random_crop(int(row), step) for row in rows[samples]])
            return MicroBatch(pixels, torch.from_numpy(labels[rows[samples]]), noise.of(samples), scale, is_last=number == count - 1)

        return [micro_batch(number) for number in range(count)]

    def loss_of(self, model: Callable[[Tensor, Noise], MoeOutput], micro_batch: MicroBatch) -> Tensor:
        """Weighted cross-entropy plus the load-balancing loss of a micro-batch; a step minimises its mean over ranks and micro-batches."""
        device = self.context.device
        output = model(micro_batch.pixels.to(device, non_blocking=True), micro_batch.noise.to(device))
        cross_entropy = self.loss(output.logits, micro_batch.labels.to(device)).sum() * micro_batch.loss_scale
        if self.config.moe.num_experts == 1 or self.config.moe.aux_loss_weight == 0:
            return cross_entropy
        balance = self.expert_load.loss(output)
        if micro_batch.is_last:
            self.expert_load.end_step(self.context.mean_over_ranks)
        return cross_entropy + self.config.moe.aux_loss_weight * balance

    @torch.no_grad()
    def validate(self, model: nn.Module, batch_size: int = 128, num_workers: int = 0) -> ValidationSums:
        """Sums over this rank's validation images: every ``world_size``-th one, each exactly once; ``num_workers`` threads prefetch."""
        sums = ValidationSums(len(self.config.classes), self.config.moe.num_experts)
        training = model.training
        model.eval()
        for pixels, labels in self._validation_batches(batch_size, num_workers):
            sums.add(model(pixels.to(self.context.device)), labels)
        model.train(training)
        return sums

    def _validation_batches(self, batch_size: int, num_workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        local_rows = self.val[self.context.rank :: self.context.world_size]
        batches = [local_rows[start : start + batch_size] for start in range(0, len(local_rows), batch_size)]
        for rows, pixels in zip(batches, prefetch(batches, self._center_crops, num_workers), strict=True):
            yield pixels, torch.from_numpy(self.images.labels[rows])

    def _center_crops(self, rows: np.ndarray) -> Tensor:
        """Pixels of these rows for validation."""
        size, scale, images = self.config.model.img_size, sum(self.config.augment.scales) / 2, self.images
        return self._stack(
            [
                center_crop(images.pixels(row), size=size, stored_scale=float(images.scale[row]), scale=scale, face=images.face(row))
                for row in map(int, rows)
            ]
        )

    def _random_crop(self, row: int, step: int) -> np.ndarray:
        rng, images = np.random.default_rng([self.config.seed, step, row]), self.images
        size, stored_scale, augment = self.config.model.img_size, float(images.scale[row]), self.config.augment
        return random_crop(images.pixels(row), rng, size=size, stored_scale=stored_scale, config=augment, face=images.face(row))

    @staticmethod
    def _stack(images: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


def count_micro_batches(local_batch_size: int, micro_batch_size: int) -> int:
    """The smallest number of equal micro-batches of a local batch that are no larger than ``micro_batch_size``."""
    counts = range(1, local_batch_size + 1)
    return next(count for count in counts if local_batch_size % count == 0 and local_batch_size // count <= micro_batch_size)
