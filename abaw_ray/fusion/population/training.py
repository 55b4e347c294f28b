"""Trains a population: candidates of one architecture and all their folds together, as stacked parameters on the same rows.

A candidate's result does not depend on the others: rows, dropout and initial weights depend on the seed, the step and the fold alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import UNLABELLED, class_counts
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.network.noise import TrainingNoise
from abaw_ray.fusion.population.optimizer import PopulationAdamW
from abaw_ray.fusion.population.rows import DeviceRows, FoldBatches, SubjectSums, TrainingFolds
from abaw_ray.fusion.population.windows import PADDING, WindowBatches
from abaw_ray.scoring.metrics import CLASSES, confusion_matrix
from abaw_ray.training.config import LossConfig
from abaw_ray.training.losses import balancing

_SCORED_ROWS = 2_048
"""Held-out frames of each fold in one forward pass."""


class PopulationLoss:
    """Balanced cross-entropy of every member: weights from the class counts of its fold's training rows, settings of its candidate."""

    def __init__(self, configs: Sequence[LossConfig], labels_of_folds: Sequence[np.ndarray], device: torch.device) -> None:
        """Count the classes of each fold's labels."""
        counts = [class_counts(labels, CLASSES) for labels in labels_of_folds]
        values = np.array([[balancing(config, count) for count in counts] for config in configs])
        self.weights, self.adjustment = torch.tensor(values, dtype=torch.float32, device=device).unbind(dim=2)
        self.smoothing = torch.tensor([config.label_smoothing for config in configs], device=device).view(-1, 1, 1)

    def __call__(self, logits: Float[Tensor, "candidates folds n 8"], labels: Int64[Tensor, "folds n"]) -> Float[Tensor, "candidates folds"]:
        """Weighted mean of each member's losses over the rows with a label of 0 or more."""
        log_probabilities = functional.log_softmax(logits + self.adjustment[:, :, None], dim=-1)
        index = labels.clamp(min=0).expand(len(logits), -1, -1)
        correct = log_probabilities.gather(-1, index[..., None]).squeeze(-1)
        losses = -(1 - self.smoothing) * correct - self.smoothing * log_probabilities.mean(dim=-1)
        weights = self.weights.gather(-1, index) * (labels >= 0)
        return (losses * weights).sum(dim=-1) / weights.sum(dim=-1).clamp(min=1e-12)

    def keep(self, kept: Int64[Tensor, " candidates"]) -> None:
        """Continue with these candidates alone."""
        self.weights, self.adjustment, self.smoothing = self.weights[kept], self.adjustment[kept], self.smoothing[kept]


class Population:
    """Candidates x folds in training. ``train_epoch`` continues it by an epoch, ``keep`` drops candidates."""

    def __init__(
        self,
        frames: Frames,
        candidates: Sequence[FusionConfig],
        folds: TrainingFolds,
        *,
        device: torch.device | str | None = None,
    ) -> None:
        """Move the rows to the device and build the members; nothing is trained yet.

        Args:
            frames: All frames.
            candidates: Settings that differ in ``PER_CANDIDATE`` alone.
            folds: Their folds.
            device: ``cpu`` or ``cuda``; by default a GPU where there is one.

        Raises:
            DataError: a fold has no row to train on.
            ValueError: the candidates differ in more.
        """
        first = candidates[0]
        if any(one.shape() != first.shape() for one in candidates):
            raise ValueError("the candidates of a population must have the same architecture, mode, batches and seed")
        self.frames, self.candidates, self.config = frames, list(candidates), first
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.folds, self.train, self.held_out = folds, list(folds.train), list(folds.held_out)
        in_use = np.any([*folds.train, *folds.held_out], axis=0)
        used = np.flatnonzero((frames.labels >= 0) & frames.scored(first.mode) & in_use[frames.subject_index])
        if not len(used):
            raise DataError(f"fusion: none of {len(frames):,} training frames is labelled and has a vector for mode '{first.mode}'")
        self.batches = (FoldBatches if first.head == "frame" else WindowBatches)(frames, used, folds, first)
        self.data: DeviceRows | None = DeviceRows(frames, first.mode, self.device, self.batches.rows)
        self._labels = np.full(len(frames) + 1, UNLABELLED, np.int64)  # one more, for places of a window that no frame fills
        self._labels[used] = frames.labels[used]
        members = (len(candidates), len(self.train))
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(first.seed)
            self.model = GatedFusion(frames.visual.shape[1], frames.speech.shape[1], first, members).to(self.device)
        self._standardize(used)
        in_training = [used[mask[frames.subject_index[used]]] for mask in self.train]
        self.loss = PopulationLoss([one.loss for one in candidates], [frames.labels[rows] for rows in in_training], self.device)
        self.optimizer = PopulationAdamW(self.model, candidates)
        self.epoch, self.step = 0, 0

    def _standardize(self, used: Int64[np.ndarray, " rows"]) -> None:
        frames = self.frames
        for vectors, present, standardizer in zip(
            (frames.visual, frames.speech),
            frames.present(self.config.mode),
            (self.model.visual_standardizer, self.model.speech_standardizer),
            strict=True,
        ):
            sums = SubjectSums.of(vectors, used[present[used]], frames.subject_index, len(frames.subjects))
            for fold, mask in enumerate(self.train):
                mean, std = sums.moments(mask)
                standardizer.mean[fold].copy_(torch.from_numpy(mean))
                standardizer.std[fold].copy_(torch.from_numpy(std))

    def train_epoch(self) -> Float[np.ndarray, "candidates folds"]:
        """Train one epoch; returns the mean loss of every member."""
        config = self.config
        steps = self.batches.epoch(self.epoch, config.batch_size, config.seed)
        warmup = max(1, round(config.optim.warmup_epochs * len(steps)))
        losses = torch.zeros(len(self.candidates), len(self.train), device=self.device)
        self.model.train()
        for rows in steps:
            losses += self._train_step(rows)
            self.optimizer.step(min(1.0, (self.step + 1) / warmup))
            self.step += 1
        self.epoch += 1
        return (losses / len(steps)).cpu().numpy()

    def _train_step(self, rows: Int64[np.ndarray, "folds batch"]) -> Float[Tensor, "candidates folds"]:
        noise = TrainingNoise(self.candidates, self.folds.seeds(), self.config.seed, self.step, self.device)
        with self._autocast():
            logits, _ = self.model(*self._inputs(rows), noise=noise)
        losses = self.loss(logits, torch.from_numpy(self._labels[rows]).to(self.device))
        losses.sum().backward()
        return losses.detach()

    @torch.inference_mode()
    def score(self) -> Int64[np.ndarray, "candidates folds 8 8"]:
        """Confusion matrices of the averaged weights over the held-out rows of each fold, one row per interval, without smoothing; of no fold where
        none is held out.
        """
        if not self.held_out:
            return np.zeros((len(self.candidates), 0, CLASSES, CLASSES), np.int64)
        rows = self.batches.scored_rows()
        held_out = [rows[mask[self.frames.subject_index[rows[:, 0]]]] for mask in self.held_out]
        counts = np.zeros((len(self.candidates), len(held_out), CLASSES, CLASSES), np.int64)
        step = max(1, _SCORED_ROWS // rows.shape[1])
        for start in range(0, max(map(len, held_out)), step):
            chunks = [part[start : start + step] for part in held_out]
            size = max(map(len, chunks))
            padded = np.stack([np.pad(chunk, ((0, size - len(chunk)), (0, 0)), constant_values=PADDING).ravel() for chunk in chunks])
            predicted = self._averaged(padded).argmax(dim=-1).cpu().numpy()
            for fold, labels in enumerate(self._labels[padded]):
                for candidate in range(len(self.candidates)):
                    counts[candidate, fold] += confusion_matrix(labels, predicted[candidate, fold])
        return counts

    def _averaged(self, rows: Int64[np.ndarray, "folds n"]) -> Float[Tensor, "candidates folds n 8"]:
        """Logits of the averaged weights."""
        self.model.eval()
        with self._autocast():
            logits, _ = functional_call(self.model, self.optimizer.average, self._inputs(rows))
        return logits

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")

    def _inputs(self, rows: Int64[np.ndarray, "folds n"]) -> tuple[Any, ...]:
        """The model's arguments for these rows."""
        assert self.data is not None  # until the training is over
        windows = None if self.config.head == "frame" else self.data.windows(rows, self.config.window_rows)
        return (*self.data.inputs(rows), windows)

    def keep(self, kept: Sequence[int]) -> None:
        """Continue with these candidates alone, given by their current positions."""
        index = torch.tensor(list(kept), device=self.device)
        for _, parameter in self.model.named_parameters():
            parameter.data = parameter.data[index].clone()
        self.candidates = [self.candidates[position] for position in kept]
        self.loss.keep(index)
        self.optimizer.keep(self.model, index)

    def weights(self, candidate: int) -> dict[str, Tensor]:
        """Averaged weights of one candidate, by parameter (folds, ...), on the CPU."""
        return {name: value[candidate].to("cpu", copy=True) for name, value in self.optimizer.average.items()}

    def member(self, config: FusionConfig, weights: Mapping[str, Tensor], fold: int) -> GatedFusion:
        """The model of one fold with these weights of a candidate, on the CPU and in evaluation mode."""
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced
            model = GatedFusion(*self.model.widths, config)
        buffers = {name: value[fold].cpu() for name, value in self.model.named_buffers() if name in model.state_dict()}
        model.load_state_dict({name: value[fold] for name, value in weights.items()} | buffers)
        return model.eval()
