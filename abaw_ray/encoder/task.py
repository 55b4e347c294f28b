"""The training step of Stage I: sample indices -> pixels -> loss, and the metrics on the validation images.

Everything is a function of (seed, step, image) and independent of the number of ranks. This module imports neither DeepSpeed nor Ray.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Shaped, UInt8
from torch import Tensor, nn

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.encoder.augmentation.view import center_crop, random_crop
from abaw_ray.encoder.config import EncoderConfig, parse_source_weights
from abaw_ray.encoder.evaluation.metrics import ValidationSums
from abaw_ray.encoder.evaluation.sets import validation_sets
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.images import ImageSet
from abaw_ray.encoder.moe import ExpertLoad, MoeOutput, identity
from abaw_ray.encoder.noise import Noise, NoiseSizes, draw_noise
from abaw_ray.encoder.vit.preprocessing import preprocessing_of
from abaw_ray.training.copies import copies_to, is_gpu, on_device, pinned
from abaw_ray.training.loop import prefetch
from abaw_ray.training.losses import ClassLoss
from abaw_ray.training.sampler import Sampler


class MicroBatch(NamedTuple):
    """Images of one forward and backward pass on one rank."""

    pixels: UInt8[Tensor, "n 3 size size"]
    labels: Int[Tensor, " n"]
    weights: Float[Tensor, " n"]
    """Factors of the samples' losses (``encoder.source_weights``)."""
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


def training_rows(config: EncoderConfig, images: ImageSet) -> Int[np.ndarray, " rows"]:
    """Rows of the training images that these settings use, ascending.

    Raises:
        DataError: there are some, and none of them shows a face.
    """
    rows = images.rows("train", with_face=config.no_face == "skip")
    if len(rows) == 0 and len(images.rows("train")):
        raise DataError("images: no face was found in any training image; set encoder.no_face to whole, or choose another detector")
    return rows


class EncoderTask:
    """Micro-batches, loss and validation of one rank."""

    def __init__(
        self,
        config: EncoderConfig,
        images: ImageSet,
        context: RankContext | None = None,
        *,
        noise_sizes: NoiseSizes | None = None,
        train: Int[np.ndarray, " rows"] | None = None,
    ) -> None:
        """Select the rows of both splits and count the classes of the training images.

        Args:
            config: Settings of the training.
            images: All images.
            context: Position among the ranks.
            noise_sizes: Random numbers that the model needs per sample.
            train: Rows of the training images; None for all.

        Raises:
            ConfigError: the number of ranks does not divide the batch.
            DataError: a split is empty.
            ConfigError: a data set with a weight has no training image.
        """
        cv2.setNumThreads(1)
        self.config, self.images, self.context = config, images, context or RankContext()
        self.img_size = preprocessing_of(config.model).img_size
        self.train, self.val = training_rows(config, images) if train is None else train, images.rows("val")
        for name, rows in (("train", self.train), ("val", self.val)):
            if len(rows) == 0:
                raise DataError(f"images: the '{name}' split is empty; Stage I trains on one and is validated on the other")
        config.check_world_size(self.context.world_size)
        self.validation_sets = validation_sets(images.labels, images.source, self.val, config.classes)
        self.sampler = Sampler(size=len(self.train), global_batch_size=config.global_batch_size, seed=config.seed)
        self.augment = config.augment.scaled()
        self.sample_weights = weights_by_source(config, images.source[self.train])
        self.loss = ClassLoss(config.loss, images.labels[self.train], len(config.classes), self.sample_weights)
        self.expert_load = ExpertLoad(config.moe.num_experts, self.context.device)
        self.noise_sizes = noise_sizes or NoiseSizes()
        self._copies = copies_to(self.context.device)

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
        indices = self.sampler.indices(step)
        rows, weights = self.train[indices], self.sample_weights[indices]
        scale = context.world_size * count / self.loss.weight_sum(labels[rows], weights)
        noise = draw_noise(self.config.seed, step, len(rows), self.noise_sizes)
        size = len(rows) // context.world_size // count

        def micro_batch(number: int) -> MicroBatch:
            start = (context.rank * count + number) * size
            samples = slice(start, start + size)
            pixels = self._stack([self._random_crop(int(row), step) for row in rows[samples]])
            sample_weights = torch.from_numpy(weights[samples]).float()
            batch_labels = torch.from_numpy(labels[rows[samples]])
            batch = MicroBatch(pixels, batch_labels, sample_weights, noise.of(samples), scale, is_last=number == count - 1)
            return pinned(batch, context.device)

        return [micro_batch(number) for number in range(count)]

    def loss_of(self, model: Callable[[Tensor, Noise], MoeOutput], micro_batch: MicroBatch) -> Tensor:
        """Weighted cross-entropy plus the load-balancing loss of a micro-batch; a step minimizes its mean over ranks and micro-batches."""
        device = self.context.device
        output = model(micro_batch.pixels.to(device, non_blocking=True), micro_batch.noise.to(device))
        losses = self.loss(output.logits, micro_batch.labels.to(device)) * micro_batch.weights.to(device)
        cross_entropy = losses.sum() * micro_batch.loss_scale
        if self.config.moe.num_experts == 1 or self.config.moe.aux_loss_weight == 0:
            return cross_entropy
        balance = self.expert_load.loss(output)
        if micro_batch.is_last:
            self.expert_load.end_step(self.context.mean_over_ranks)
        return cross_entropy + self.config.moe.aux_loss_weight * balance

    @torch.no_grad()
    def validate(self, model: nn.Module, batch_size: int = 128, num_workers: int = 0) -> ValidationSums:
        """Sums over this rank's validation images: every ``world_size``-th one, each exactly once; ``num_workers`` threads prefetch."""
        sums = ValidationSums(len(self.config.classes), self.config.moe.num_experts, self.validation_sets)
        training = model.training
        model.eval()
        local_rows = self.val[self.context.rank :: self.context.world_size]
        for rows, pixels in self._evaluation_batches(local_rows, batch_size, num_workers):
            sums.add(model(pixels), torch.from_numpy(self.images.labels[rows]), self.images.source[rows])
        model.train(training)
        return sums

    @torch.no_grad()
    def vectors(self, model: ExpressionModel, rows: Int[np.ndarray, " n"], batch_size: int = 128, num_workers: int = 0) -> Float[np.ndarray, "n dim"]:
        """The encoder's vectors of these images, without augmentation; each rank encodes a part, and all get all. All ranks call this together."""
        context, vectors = self.context, torch.zeros(len(rows), model.encoder.dim)
        training = model.training
        model.eval()
        places = np.arange(len(rows))[context.rank :: context.world_size]
        start = 0
        for batch, pixels in self._evaluation_batches(rows[places], batch_size, num_workers):
            vectors[places[start : start + len(batch)]] = model.encoder(pixels).float().cpu()
            start += len(batch)
        model.train(training)
        return (context.mean_over_ranks(vectors).cpu() * context.world_size).numpy()

    def _evaluation_batches(self, rows: Int[np.ndarray, " n"], batch_size: int, num_workers: int) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Rows and pixels on the device of these images in batches, in order, without augmentation."""
        batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
        yield from on_device(zip(batches, prefetch(batches, self._center_crops, num_workers), strict=True), self._copies)

    def _center_crops(self, rows: np.ndarray) -> Tensor:
        """Pixels of these rows without augmentation."""
        size, scale, images = self.img_size, sum(self.config.augment.scales) / 2, self.images
        return self._stack(
            [
                center_crop(images.pixels(row), size=size, stored_scale=float(images.scale[row]), scale=scale, face=images.face(row))
                for row in map(int, rows)
            ]
        )

    def _random_crop(self, row: int, step: int) -> np.ndarray:
        rng, images = np.random.default_rng([self.config.seed, step, row]), self.images
        size, stored_scale, augment = self.img_size, float(images.scale[row]), self.augment
        return random_crop(images.pixels(row), rng, size=size, stored_scale=stored_scale, config=augment, face=images.face(row))

    def _stack(self, images: list[np.ndarray]) -> Tensor:
        """Images as one tensor; for a GPU in page-locked memory, without a second copy."""
        pixels = torch.empty((len(images), *images[0].shape), dtype=torch.uint8, pin_memory=is_gpu(self.context.device))
        np.stack(images, out=pixels.numpy())
        return pixels.permute(0, 3, 1, 2)


def weights_by_source(config: EncoderConfig, sources: Shaped[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Factors of the losses of training images, by the name of their data set.

    Raises:
        ConfigError: no image is of a data set that has a weight.
    """
    weights = np.ones(len(sources))
    for name, weight in parse_source_weights(config.source_weights).items():
        of_source = sources == name
        if not of_source.any():
            known = ", ".join(sorted(set(sources)))
            raise ConfigError(f"encoder.source_weights: no training image is of the data set '{name}'; the training images are of {known}")
        weights[of_source] = weight
    return weights


def count_micro_batches(local_batch_size: int, micro_batch_size: int) -> int:
    """The smallest number of equal micro-batches of a local batch that are no larger than ``micro_batch_size``."""
    counts = range(1, local_batch_size + 1)
    return next(count for count in counts if local_batch_size % count == 0 and local_batch_size // count <= micro_batch_size)
