"""One model in a plain PyTorch loop with ``torch.optim.AdamW``: what somebody would write who trains it alone."""

import torch
from torch import Tensor
from torch.nn import functional

from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.network.noise import TrainingNoise
from abaw_ray.fusion.population.loss import PopulationLoss
from abaw_ray.fusion.population.rows import DeviceRows, TrainingFolds
from abaw_ray.fusion.population.training import Population


class _Dropout(TrainingNoise):
    """Dropout by PyTorch, and one modality removed from some frames."""

    def __init__(self, config: FusionConfig) -> None:
        self.config = config

    def hidden(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.config.dropout)

    def modalities(self, seen: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        uniform, half, both = torch.rand(seen.shape), self.config.modality_dropout / 2, seen & heard
        return seen & ~(both & (uniform < half)), heard & ~(both & (uniform > 1 - half))


class PlainTraining:
    """A model of one candidate on one fold, on the CPU."""

    def __init__(self, frames: Frames, config: FusionConfig, folds: TrainingFolds, fold: int) -> None:
        """Take batches, weights and standardization from a population of one."""
        alone = TrainingFolds(train=[folds.train[fold]], numbers=[fold], paced_by=folds.train)
        population = Population(frames, [config], alone, device="cpu")
        self.config, self._batches, self._epoch = config, population.batches, 0
        self._data = DeviceRows(frames, config.mode, torch.device("cpu"))
        self._labels = torch.from_numpy(frames.labels.astype("int64"))
        self._class_weights = PopulationLoss([config.loss], [frames.labels[self._batches.rows]], torch.device("cpu")).weights[0, 0]
        self.model: GatedFusion = population.member(config, population.weights(0), 0)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.optim.lr, weight_decay=config.optim.weight_decay)

    def train_epoch(self) -> float:
        """Train one epoch; returns the mean loss."""
        total, steps = 0.0, self._batches.epoch(self._epoch, self.config.batch_size, self.config.seed)
        self.model.train()
        for rows in steps[:, 0]:
            logits, _ = self.model(*self._data.inputs(rows), noise=_Dropout(self.config))
            smoothing = self.config.loss.label_smoothing
            loss = functional.cross_entropy(logits, self._labels[rows], self._class_weights, label_smoothing=smoothing)
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.max_grad_norm)
            self._optimizer.step()
            total += float(loss.detach())
        self._epoch += 1
        return total / len(steps)
