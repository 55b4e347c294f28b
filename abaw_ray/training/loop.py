"""The pieces of a training loop that know neither the model nor where it runs: batches made ahead in threads, and steps over an engine.

An engine is whatever owns the parameters: plain PyTorch here, DeepSpeed in ``cluster/``.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from abaw_ray.training.optim import set_rates

_T = TypeVar("_T")


@runtime_checkable
class Engine(Protocol):
    """Owns a model's parameters and changes them."""

    module: nn.Module
    """The bare model: for scores and for saving."""
    groups: list[dict]
    """The optimiser's parameter groups; the next step uses their ``lr``."""

    def __call__(self, batch: Any) -> Any:
        """The model's output in training."""

    def backward(self, loss: Tensor) -> None:
        """Add this rank's loss of one piece to the gradient: of a step, the mean over all ranks and pieces is what is minimised."""

    def step(self) -> None:
        """Take the step after its last piece."""


class PlainEngine:
    """One process, no engine below: what the tests compare the others with."""

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, *, clip: float = 0.0, pieces: int = 1) -> None:
        """Own the module; ``pieces`` backward passes make one step, ``clip`` bounds the norm of the gradient (0: unbounded)."""
        self.module, self.optimizer, self.clip, self.pieces = module, optimizer, clip, pieces
        self.groups = optimizer.param_groups

    def __call__(self, batch: Any) -> Any:
        """The module's output."""
        return self.module(batch)

    def backward(self, loss: Tensor) -> None:
        """Add the loss's gradient."""
        (loss / self.pieces).backward()

    def step(self) -> None:
        """Clip, step, forget the gradient."""
        if self.clip:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def ahead(items: Iterable[Any], make: Callable[[Any], _T], threads: int) -> Iterator[_T]:
    """Yield ``make(item)`` in order, with up to ``threads`` of them being made while the caller works; 0 makes each when it is asked for.

    An error of ``make`` is raised where its result would have been yielded.
    """
    if threads < 1:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def run_steps(
    steps: Iterable[int],
    pieces_of: Callable[[int], list[_T]],
    loss_of: Callable[[_T], Tensor],
    engine: Engine,
    *,
    rate: Callable[[int], float],
    seed: Callable[[int], int],
    threads: int = 0,
) -> Iterator[Tensor]:
    """Train over the steps and yield this rank's loss of each, a scalar that is still on its device.

    Args:
        steps: Numbers of the steps, from 0 of the whole run.
        pieces_of: The pieces of a step that go through the model one after the other.
        loss_of: Loss of a piece, its forward pass through the engine.
        engine: Takes the steps.
        rate: Share of the peak learning rate at a step.
        seed: Seeds PyTorch's own random numbers (stochastic depth) of a step, so that a resumed run repeats them.
        threads: Threads that make pieces ahead.
    """
    numbers = list(steps)
    for step, pieces in zip(numbers, ahead(numbers, pieces_of, threads), strict=True):
        set_rates(engine.groups, rate(step))
        torch.manual_seed(seed(step))
        losses = []
        for piece in pieces:
            loss = loss_of(piece)
            engine.backward(loss)
            losses.append(loss.detach())
        engine.step()
        yield torch.stack(losses).mean()
