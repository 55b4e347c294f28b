"""One trial of the search of Stage I's hyperparameters: a candidate is trained on a subset of the images, in one process.

The steps, pixels and losses are those of Stage I (``encoder.task``); PyTorch takes the place of DeepSpeed, with float32 weights and, on a GPU, bf16
arithmetic. The weights are those of the last step, because a moving average lags behind in so short a training.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from abaw_ray.core.settings import AutoOnOff, replace_at
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.images import ImageSet
from abaw_ray.encoder.moe import MoeOutput
from abaw_ray.encoder.search.config import EncoderSearchConfig
from abaw_ray.encoder.task import EncoderTask, MicroBatch, RankContext, training_rows
from abaw_ray.encoder.vit.compiled_blocks import compile_blocks
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.optim import lr_multiplier


def candidate_config(config: EncoderConfig, search: EncoderSearchConfig, overrides: dict[str, Any]) -> EncoderConfig:
    """Settings of one trial."""
    return replace(replace_at(config, overrides), epochs=search.epochs)


def subset(config: EncoderConfig, search: EncoderSearchConfig, images: ImageSet) -> Int[np.ndarray, " rows"]:
    """Rows of the training images of every trial, ascending: ``search.images`` of them, or all where there are fewer."""
    rows = training_rows(config, images)
    if len(rows) <= search.images:
        return rows
    return np.sort(np.random.default_rng([search.seed, len(rows)]).choice(rows, search.images, replace=False))


class EncoderTrial:
    """Model, task and engine of one candidate."""

    def __init__(
        self,
        config: EncoderConfig,
        images: ImageSet,
        train: Int[np.ndarray, " rows"],
        *,
        device: str = "cpu",
        micro_batch_size: int = 0,
        recompute_activations: bool = False,
        compile: AutoOnOff = "off",
        num_workers: int = 0,
        storage: StorageConfig | None = None,
    ) -> None:
        """Build the model with its initial weights.

        Args:
            config: The candidate's settings.
            images: All images.
            train: Rows of its training images.
            device: Device of the model.
            micro_batch_size: Largest number of images of one forward pass; 0 selects it by the GPU's memory.
            recompute_activations: Whether activations are recomputed in the backward pass, to need less memory.
            compile: Whether the encoder's blocks are compiled.
            num_workers: Threads that prefetch images.
            storage: Settings of object stores, for weights at a URI.

        Raises:
            ConfigError: the model cannot be built, or its weights do not exist.
            DataError: the images or the weights are not usable.
        """
        self.config, self.num_workers, self._device_type = config, num_workers, torch.device(device).type
        self.model = ExpressionModel(config, storage).to(device)
        if recompute_activations:
            self.model.encoder.recompute_activations()
        compile_blocks(self.model.encoder.vit, compile, device)
        size = micro_batch_size or self.model.largest_micro_batch(device, recompute=recompute_activations)
        context = RankContext(device=device, micro_batch_size=size)
        self.task = EncoderTask(config, images, context, noise_sizes=self.model.noise_sizes, train=train)
        self.engine = PlainEngine(
            self.model,
            SlicedAdamW(self.model.parameter_groups(config), config.optim),
            max_grad_norm=config.optim.max_grad_norm,
            gradient_accumulation_steps=self.task.gradient_accumulation_steps,
        )

    def epochs(self) -> Iterator[dict[str, Any]]:
        """Train, and yield after each pass ``epoch`` (from 1), ``loss``, and the metrics of all validation images.

        Ends early where the loss is not finite; the last row then has a ``reason`` and no metrics.
        """
        for epoch in range(self.config.epochs):
            loss = self._train(epoch)
            if not math.isfinite(loss):
                yield {"epoch": epoch + 1, "reason": "the loss is not finite"}
                return
            with self._arithmetic():
                metrics = self.task.validate(self.model, num_workers=self.num_workers).metrics(self.config.classes)
            yield {"epoch": epoch + 1, "loss": loss, **metrics}

    def _train(self, epoch: int) -> float:
        task, steps = self.task, self.task.steps_per_epoch
        losses = run_steps(
            range(epoch * steps, (epoch + 1) * steps),
            task.micro_batches,
            self._loss_of,
            self.engine,
            lr_multiplier=lambda step: lr_multiplier(step, self.config.epochs * steps, self.config.optim),
            seed=task.seed,
            num_workers=self.num_workers,
            device=task.context.device,
        )
        return float(torch.stack(list(losses)).mean())

    def _loss_of(self, micro_batch: MicroBatch) -> torch.Tensor:
        def forward(*inputs: Any) -> MoeOutput:
            with self._arithmetic():
                return self.engine(*inputs)

        return self.task.loss_of(forward, micro_batch)

    def _arithmetic(self) -> AbstractContextManager[object]:
        reduced = self.config.precision == "bf16" or (self.config.precision == "auto" and self._device_type == "cuda")
        return torch.autocast(self._device_type, torch.bfloat16) if reduced else nullcontext()
