"""Parts of a training loop: prefetching in threads, and steps with gradient accumulation on an engine.

An engine owns the parameters: plain PyTorch here, DeepSpeed in ``cluster/``. This module is independent of the model and of where it runs.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from abaw_ray.training.optim import set_learning_rates

_T = TypeVar("_T")


@runtime_checkable
class Engine(Protocol):
    """Owns a model's parameters and updates them."""

    module: nn.Module
    """The bare model, for evaluation and saving."""

    @property
    def param_groups(self) -> list[dict]:
        """The optimizer's parameter groups; the next step uses their ``lr``."""
        ...

    def __call__(self, *inputs: Any) -> Any:
        """The model's output in training mode."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of one micro-batch on this rank. A step minimises the mean of the losses over all ranks and micro-batches."""

    def step(self) -> None:
        """Update the parameters after the last micro-batch of a step."""


class PlainEngine:
    """PyTorch in one process, without DeepSpeed; the reference in tests."""

    def __init__(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, *, max_grad_norm: float = 0.0, gradient_accumulation_steps: int = 1
    ) -> None:
        """Wrap the module and its optimizer; ``max_grad_norm`` 0 disables clipping."""
        self.module, self.optimizer = module, optimizer
        self.max_grad_norm, self.gradient_accumulation_steps = max_grad_norm, gradient_accumulation_steps

    @property
    def param_groups(self) -> list[dict]:
        """The optimizer's parameter groups."""
        return self.optimizer.param_groups

    def __call__(self, *inputs: Any) -> Any:
        """The module's output."""
        return self.module(*inputs)

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of a micro-batch."""
        (loss / self.gradient_accumulation_steps).backward()

    def step(self) -> None:
        """Clip the gradient, update the parameters, reset the gradient."""
        if self.max_grad_norm:
            nn.utils.clip_grad_norm_(self.module.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def prefetch(items: Iterable[Any], make: Callable[[Any], _T], num_workers: int) -> Iterator[_T]:
    """Yield ``make(item)`` in order; up to ``num_workers`` threads compute results before they are requested, 0 computes each on request.

    An exception of ``make`` is raised where its result would have been yielded.
    """
    if num_workers < 1:
        yield from map(make, items)
        return
    with ThreadPoolExecutor(num_workers) as pool:
        pending: deque[Future[_T]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) > num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def run_steps(
    steps: Iterable[int],
    micro_batches_of: Callable[[int], list[_T]],
    loss_of: Callable[[_T], Tensor],
    engine: Engine,
    *,
    lr_multiplier: Callable[[int], float],
    seed: Callable[[int], int],
    num_workers: int = 0,
) -> Iterator[Tensor]:
    """Train over the steps and yield this rank's loss of each step, a scalar that is still on its device.

    Args:
        steps: Indices of the steps, counted from 0 over the whole run.
        micro_batches_of: Micro-batches of a step, over which the gradient is accumulated.
        loss_of: Loss of a micro-batch; its forward pass goes through the engine.
        engine: Updates the parameters.
        lr_multiplier: Learning rate of a step as a fraction of the peak.
        seed: Seed of PyTorch's random numbers (stochastic depth, dropout) in a step, so that a resumed run repeats them.
        num_workers: Threads that prefetch micro-batches.
    """
    indices = list(steps)
    for step, micro_batches in zip(indices, prefetch(indices, micro_batches_of, num_workers), strict=True):
        set_learning_rates(engine.param_groups, lr_multiplier(step))
        torch.manual_seed(seed(step))
        losses = []
        for micro_batch in micro_batches:
            loss = loss_of(micro_batch)
            engine.backward(loss)
            losses.append(loss.detach())
        engine.step()
        yield torch.stack(losses).mean()
