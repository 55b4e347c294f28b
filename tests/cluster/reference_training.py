"""The training of an encoder in this process, without Ray and DeepSpeed, for comparison."""

import torch
from synthetic_images import synthetic_table

from abaw_ray.cluster.training.ranks.average import Part, WeightAverage
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.images import open_image_set
from abaw_ray.encoder.task import EncoderTask
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.optim import lr_multiplier

SHARDS = ["images/train.parquet", "images/val.parquet"]


def write_shards(storage):
    """Write 96 images to train on and 31 to validate on."""
    storage.write_table(SHARDS[0], synthetic_table(96, split="train", seed=1))
    storage.write_table(SHARDS[1], synthetic_table(31, split="val", seed=2))


class ReferenceTraining:
    """Trains epoch by epoch with the weights' average, as the ranks do."""

    def __init__(self, config, storage, folder):
        self.config, self.model = config, ExpressionModel(config)
        self.task = EncoderTask(config, open_image_set(storage, SHARDS, folder), noise_sizes=self.model.noise_sizes)
        parts = [Part(name, 0, parameter.detach().view(-1)) for name, parameter in self.model.named_parameters()]
        self.average = WeightAverage(parts, config.ema_decay, sharded=False)
        optimizer = SlicedAdamW(self.model.parameter_groups(config), config.optim)
        self.engine = PlainEngine(self.model, optimizer, max_grad_norm=config.optim.max_grad_norm)

    def epochs(self):
        """Yield the mean loss of each epoch, its validation metrics and the vectors of the validation images."""
        task, config = self.task, self.config
        total = config.epochs * task.steps_per_epoch
        for number in range(config.epochs):
            steps = range(number * task.steps_per_epoch, (number + 1) * task.steps_per_epoch)
            losses = run_steps(
                steps,
                task.micro_batches,
                lambda micro_batch: task.loss_of(self.engine, micro_batch),
                self.engine,
                lr_multiplier=lambda step: lr_multiplier(step, total, config.optim),
                seed=task.seed,
            )
            values = []
            for step, loss in zip(steps, losses, strict=True):
                values.append(loss)
                self.average.update(step)
            with self.average.applied(self.model):
                metrics, vectors = task.validate(self.model).metrics(config.classes), task.vectors(self.model, task.val)
            yield torch.stack(values).mean().item(), metrics, vectors
