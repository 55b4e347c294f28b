"""Members of a population as one model with stacked parameters: every operation is one call for all of them."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.func import functional_call

from abaw_ray.fusion.model import GatedFusion
from abaw_ray.fusion.network.noise import TrainingNoise
from abaw_ray.fusion.network.precision import training_precision
from abaw_ray.fusion.population.members import MemberSetup
from abaw_ray.fusion.population.optimizer import PopulationAdamW


class StackedMembers:
    """All members, trained and scored together: on a GPU, few large kernels."""

    def __init__(self, setup: MemberSetup) -> None:
        """Build the model; all members have the same initial weights."""
        first, members = setup.candidates[0], (len(setup.candidates), len(setup.folds))
        self._setup, self._candidates, self._loss = setup, list(setup.candidates), setup.loss
        with torch.random.fork_rng(devices=[setup.device] if setup.device.type == "cuda" else []):
            torch.manual_seed(first.seed)
            self.model = GatedFusion(*setup.widths, first, members).to(setup.device)
        for standardizer, moments in zip((self.model.visual_standardizer, self.model.speech_standardizer), setup.moments, strict=True):
            standardizer.mean.copy_(moments.mean)
            standardizer.std.copy_(moments.std)
        self._optimizer = PopulationAdamW(self.model, setup.candidates)

    @property
    def average(self) -> dict[str, Tensor]:
        """As in ``Members``."""
        return self._optimizer.average

    def train_steps(
        self, rows: Int64[np.ndarray, "steps folds batch"], first_step: int, multipliers: Sequence[float]
    ) -> Float[Tensor, "candidates folds"]:
        """As in ``Members``."""
        setup, first = self._setup, self._candidates[0]
        average_every = min(first.optim.average_every, len(rows))
        losses = torch.zeros(len(self._candidates), len(setup.folds), device=setup.device)
        self.model.train()
        for number, (batch_rows, multiplier) in enumerate(zip(rows, multipliers, strict=True)):
            noise = TrainingNoise(self._candidates, setup.folds, first.seed, first_step + number, setup.device)
            *inputs, labels = setup.read(batch_rows)
            with self._autocast():
                logits, _ = self.model(*inputs, noise=noise)
            loss = self._loss(logits, labels)
            loss.sum().backward()
            losses += loss.detach()
            self._optimizer.step(multiplier)
            if (number + 1) % average_every == 0:
                self._optimizer.update_average()
        return losses

    @torch.inference_mode()
    def predict(self, rows: Int64[np.ndarray, "folds n"]) -> Int64[np.ndarray, "candidates folds n"]:
        """As in ``Members``."""
        self.model.eval()
        with self._autocast():
            logits, _ = functional_call(self.model, self.average, tuple(self._setup.read(rows)[:-1]))
        return logits.argmax(dim=-1).cpu().numpy()

    def _autocast(self) -> torch.autocast:
        return training_precision(self._candidates[0], self._setup.device)

    def keep(self, kept: Sequence[int]) -> None:
        """As in ``Members``."""
        index = torch.tensor(list(kept), device=self._setup.device)
        for _, parameter in self.model.named_parameters():
            parameter.data = parameter.data[index].clone()
        self._candidates = [self._candidates[position] for position in kept]
        self._loss.keep(index)
        self._optimizer.keep(self.model, index)

    def weights(self, candidate: int) -> dict[str, Tensor]:
        """As in ``Members``."""
        return {name: value[candidate].to("cpu", copy=True) for name, value in self.average.items()}
