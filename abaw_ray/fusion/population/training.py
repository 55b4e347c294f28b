"""Trains a population: candidates of one architecture and all their folds together, as stacked parameters on the same rows.

A candidate's result does not depend on the others: rows, dropout and initial weights depend on the seed, the step and the fold alone.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.frames import Frames
from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.population.blocks import FoldBlocks
from abaw_ray.fusion.population.loss import PopulationLoss
from abaw_ray.fusion.population.members import Batch, Members, MemberSetup, Moments
from abaw_ray.fusion.population.rows import DeviceRows, FoldBatches, SubjectSums, TrainingFolds
from abaw_ray.fusion.population.stacked import StackedMembers
from abaw_ray.fusion.population.windows import PADDING, WindowBatches
from abaw_ray.scoring.metrics import CLASSES, confusion_matrix

_SCORED_ROWS = 2_048
"""Held-out frames of each fold in one forward pass."""


class Population:
    """Candidates x folds in training. ``train_epoch`` continues it by an epoch, ``keep`` drops candidates."""

    def __init__(
        self,
        frames: Frames,
        candidates: Sequence[FusionConfig],
        folds: TrainingFolds,
        *,
        device: torch.device | str | None = None,
        members: Callable[[MemberSetup], Members] | None = None,
    ) -> None:
        """Move the rows to the device and build the members; nothing is trained yet.

        Args:
            frames: All frames.
            candidates: Settings of one ``shape``.
            folds: Their folds.
            device: ``cpu`` or ``cuda``; by default a GPU where there is one.
            members: How members are computed; by default fold by fold on a CPU, all stacked on a GPU.

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
        in_training = [used[mask[frames.subject_index[used]]] for mask in self.train]
        self._moments = self._moments_of(used)
        self.members: Members = (members or (FoldBlocks if self.device.type == "cpu" else StackedMembers))(
            MemberSetup(
                candidates=self.candidates,
                folds=folds.seeds(),
                moments=self._moments,
                loss=PopulationLoss([one.loss for one in candidates], [frames.labels[rows] for rows in in_training], self.device),
                read=self._read,
                device=self.device,
            )
        )
        self.epoch, self.step = 0, 0

    def _moments_of(self, used: Int64[np.ndarray, " rows"]) -> tuple[Moments, Moments]:
        """Mean and standard deviation of the visual and of the speech vectors for each fold."""
        frames, found = self.frames, []
        for vectors, present in zip((frames.visual, frames.speech), frames.present(self.config.mode), strict=True):
            sums = SubjectSums.of(vectors, used[present[used]], frames.subject_index, len(frames.subjects))
            pairs = [sums.moments(mask) for mask in self.train]
            found.append(Moments(*(torch.tensor(np.stack(moment), dtype=torch.float32) for moment in zip(*pairs, strict=True))))
        return found[0], found[1]

    def train_epoch(self) -> Float[np.ndarray, "candidates folds"]:
        """Train one epoch; returns the mean loss of every member."""
        config = self.config
        rows = self.batches.epoch(self.epoch, config.batch_size, config.seed)
        warmup = max(1, round(config.optim.warmup_epochs * len(rows)))
        multipliers = [min(1.0, (self.step + number) / warmup) for number in range(1, len(rows) + 1)]
        losses = self.members.train_steps(rows, self.step, multipliers)
        self.step += len(rows)
        self.epoch += 1
        return (losses / len(rows)).cpu().numpy()

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
            predicted = self.members.predict(padded)
            for fold, labels in enumerate(self._labels[padded]):
                for candidate in range(len(self.candidates)):
                    counts[candidate, fold] += confusion_matrix(labels, predicted[candidate, fold])
        return counts

    def _read(self, rows: Int64[np.ndarray, "*folds n"]) -> Batch:
        """The batch of these rows."""
        assert self.data is not None  # until the training is over
        windows = None if self.config.head == "frame" else self.data.windows(rows, self.config.window_rows)
        return Batch(*self.data.inputs(rows), windows, torch.from_numpy(self._labels[rows]).to(self.device))

    def keep(self, kept: Sequence[int]) -> None:
        """Continue with these candidates alone, given by their current positions."""
        self.candidates = [self.candidates[position] for position in kept]
        self.members.keep(kept)

    def weights(self, candidate: int) -> dict[str, Tensor]:
        """Averaged weights of one candidate, by parameter (folds, ...), on the CPU."""
        return self.members.weights(candidate)

    def member(self, config: FusionConfig, weights: Mapping[str, Tensor], fold: int) -> GatedFusion:
        """The model of one fold with these weights of a candidate, on the CPU and in evaluation mode."""
        with torch.random.fork_rng(devices=[]):  # the initial weights are replaced
            model = GatedFusion(self._moments[0].mean.shape[1], self._moments[1].mean.shape[1], config)
        buffers = {
            f"{name}_standardizer.{kind}": value[fold]
            for name, moments in zip(("visual", "speech"), self._moments, strict=True)
            for kind, value in moments._asdict().items()
        }
        model.load_state_dict({name: value[fold] for name, value in weights.items()} | buffers)
        return model.eval()
