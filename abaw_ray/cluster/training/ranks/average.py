"""Exponential moving average of the float32 master weights of a sharded model; every rank averages its own part.

DeepSpeed's conversion of checkpoints to another number of ranks drops state that it does not know, so the average has a file of its own per rank,
whose entries are parts of parameters by name and offset: any number of ranks can load the files of any other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_FILES = "average-{}.safetensors"


class Part(NamedTuple):
    """Elements of a parameter whose master weights this rank holds."""

    name: str
    """Name of the parameter."""
    start: int
    """First element within the flattened parameter."""
    values: Tensor
    """The master weights, a view."""


class WeightAverage:
    """The average of the master weights of this rank."""

    def __init__(self, parts: Iterable[Part], decay: float, *, sharded: bool) -> None:
        """Begin with the present weights.

        Args:
            parts: The parts of this rank.
            decay: Weight of the old average in a step; smaller in the first steps, so that the initial weights are soon forgotten.
            sharded: Whether each rank has other parts; otherwise every rank has all.
        """
        self.parts, self.decay, self.sharded = list(parts), decay, sharded
        self._average = [part.values.detach().clone() for part in self.parts]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Average in the weights after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, [part.values for part in self.parts], 1 - decay)  # pyright: ignore[reportPrivateImportUsage]

    def save(self, folder: Path, rank: int) -> None:
        """Write the parts of this rank."""
        folder.mkdir()
        named = {f"{part.name}:{part.start}": average for part, average in zip(self.parts, self._average, strict=True)}
        save_file({name: average.contiguous().cpu() for name, average in named.items()}, folder / _FILES.format(rank))

    @torch.no_grad()
    def load(self, folder: Path) -> None:
        """Read the parts of this rank from the files of all ranks.

        Raises:
            FileNotFoundError: the folder has no file, or the files lack a part.
        """
        stored = _read(folder)
        for part, average in zip(self.parts, self._average, strict=True):
            missing = torch.ones(average.numel(), dtype=torch.bool)
            for start, values in stored.get(part.name, ()):
                first, last = max(start, part.start), min(start + values.numel(), part.start + average.numel())
                if first < last:
                    own = slice(first - part.start, last - part.start)
                    average[own] = values[first - start : last - start].to(average.device)
                    missing[own] = False
            if missing.any():
                raise FileNotFoundError(f"{folder}: the average of {part.name} is incomplete")

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Replace the model's weights by the average while the block runs; all ranks call this together."""
        parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        trained = [parameter.detach().clone() for parameter in parameters.values()]
        self._write_to(parameters)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, values in zip(parameters.values(), trained, strict=True):
                    parameter.copy_(values)

    @torch.no_grad()
    def _write_to(self, parameters: dict[str, nn.Parameter]) -> None:
        """Sum the parts of all ranks, one parameter at a time, so that no second copy of the model is needed."""
        parts = defaultdict(list)
        for part, average in zip(self.parts, self._average, strict=True):
            parts[part.name].append((part.start, average))
        for name, parameter in parameters.items():
            full = torch.zeros(parameter.numel(), dtype=torch.float32, device=parameter.device)
            for start, average in parts[name]:
                full[start : start + average.numel()] = average
            if self.sharded:
                dist.all_reduce(full)
            parameter.copy_(full.view_as(parameter))


def _read(folder: Path) -> dict[str, list[tuple[int, Tensor]]]:
    """First element and values of all stored parts, by name of the parameter."""
    stored: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)
    for path in sorted(folder.glob(_FILES.format("*"))):
        for key, values in load_file(path).items():
            name, _, start = key.rpartition(":")
            stored[name].append((int(start), values))
    if not stored:
        raise FileNotFoundError(f"{folder}: no average of the weights")
    return stored
