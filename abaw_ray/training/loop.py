"""Parts of a training loop: prefetching in threads, and steps with gradient accumulation on an engine.

An engine owns the parameters: plain PyTorch here, DeepSpeed in ``cluster/``. This module is independent of the model and of where it runs.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from abaw_ray.training.copies import copies_to, on_device
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
        """Add the gradient of one micro-batch on this rank. A step minimizes the mean of the losses over all ranks and micro-batches."""

    def step(self) -> None:
        """Update the parameters after the last micro-batch of a step."""


class PlainEngine:
    """PyTorch in one process, without DeepSpeed: the trials of Stage I's search, and the reference in tests."""

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


class Prefetcher:
    """Threads that compute results before they are requested; they live as long as this object, so many short series share them."""

    def __init__(self, num_workers: int) -> None:
        """Prepare the threads, which start with the first item; with 0, each result is computed on request."""
        self.num_workers = num_workers
        self._pool = ThreadPoolExecutor(num_workers) if num_workers > 0 else None

    def __call__(self, items: Iterable[Any], make: Callable[[Any], _T]) -> Iterator[_T]:
        """Yield ``make(item)`` in order; up to ``num_workers`` results are computed or waiting beside the one that is yielded.

        An exception of ``make`` is raised where its result would have been yielded. When the iterator is closed, items that were not begun are
        not computed.
        """
        if self._pool is None:
            yield from map(make, items)
            return
        pending: deque[Future[_T]] = deque()
        try:
            for item in items:
                pending.append(self._pool.submit(make, item))
                if len(pending) > self.num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def close(self) -> None:
        """Wait for the items that were begun, and end the threads."""
        if self._pool is not None:
            self._pool.shutdown()


def prefetch(items: Iterable[Any], make: Callable[[Any], _T], num_workers: int) -> Iterator[_T]:
    """Yield ``make(item)`` in order, as ``Prefetcher`` does, with threads that end with the iterator."""
    with closing(Prefetcher(num_workers)) as prefetcher:
        yield from prefetcher(items, make)


def run_steps(
    steps: Iterable[int],
    micro_batches_of: Callable[[int], list[_T]],
    loss_of: Callable[[_T], Tensor],
    engine: Engine,
    *,
    lr_multiplier: Callable[[int], float],
    seed: Callable[[int], int],
    num_workers: int = 0,
    device: str | torch.device | None = None,
    on_data_wait: Callable[[float], None] | None = None,
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
        device: Device to which tensors of micro-batches are copied, one micro-batch ahead; None where ``loss_of`` copies them.
        on_data_wait: Called for each step with the time in seconds for which it has waited for its micro-batches.
    """
    numbered, losses = _numbered(list(steps), micro_batches_of, num_workers, on_data_wait), []
    for step, is_last, micro_batch in numbered if device is None else on_device(numbered, copies_to(device)):
        if not losses:
            set_learning_rates(engine.param_groups, lr_multiplier(step))
            torch.manual_seed(seed(step))
        loss = loss_of(micro_batch)
        engine.backward(loss)
        losses.append(loss.detach())
        if is_last:
            engine.step()
            yield torch.stack(losses).mean()
            losses = []


def timed(items: Iterator[_T], on_wait: Callable[[float], None]) -> Iterator[_T]:
    """Yield the items; ``on_wait`` is called with the seconds that each took to arrive."""
    while True:
        started = time.monotonic()
        try:
            item = next(items)
        except StopIteration:
            return
        on_wait(time.monotonic() - started)
        yield item


def _numbered(
    steps: list[int], micro_batches_of: Callable[[int], list[_T]], num_workers: int, on_data_wait: Callable[[float], None] | None
) -> Iterator[tuple[int, bool, _T]]:
    """Step of each micro-batch, and whether it is the last one of the step."""
    batches = prefetch(steps, micro_batches_of, num_workers)
    for step, micro_batches in zip(steps, timed(batches, on_data_wait) if on_data_wait else batches, strict=True):
        for number, micro_batch in enumerate(micro_batches, start=1):
            yield step, number == len(micro_batches), micro_batch
