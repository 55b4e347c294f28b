"""Batches of tensors -> the same on a device: each copy runs beside the computation on the batch before.

On a GPU this needs page-locked (pinned) memory and a stream of its own: a copy of pageable memory makes the host wait for all work on its stream.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

_T = TypeVar("_T")


@runtime_checkable
class Copies(Protocol):
    """Starts copies of batches to a device and waits for them."""

    def start(self, batch: _T) -> tuple[_T, Any]:
        """The batch on the device, and a token with which to wait for its content."""
        ...

    def wait(self, batch: Any, token: Any) -> None:
        """Let the work that is launched from now on begin after this batch is copied."""


class PlainCopies:
    """Copies that are complete when they return; none where the tensors are on the device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def start(self, batch: _T) -> tuple[_T, None]:
        """The batch on the device, and no token."""
        return map_tensors(batch, lambda tensor: tensor.to(self._device)), None

    def wait(self, batch: Any, token: None) -> None:
        """Nothing is left to wait for."""


class StreamCopies:
    """Copies to a GPU on a stream of their own; the host never waits."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)

    def start(self, batch: _T) -> tuple[_T, Any]:
        """The batch on the device, and an event behind its copies."""
        with torch.cuda.stream(self._stream):
            copied = map_tensors(batch, lambda tensor: tensor.to(self._device, non_blocking=True))
            return copied, self._stream.record_event()

    def wait(self, batch: Any, token: Any) -> None:
        """Let the current stream wait for this batch, not for later ones, and keep the batch's memory until that stream has used it."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(token)
        map_tensors(batch, lambda tensor: _used_by(tensor, current))


def copies_to(device: str | torch.device) -> Copies:
    """The copies that suit the device. PyTorch keeps freed memory for each stream apart, so many short series should share one object."""
    target = torch.device(device)
    return StreamCopies(target) if is_gpu(target) else PlainCopies(target)


def on_device(batches: Iterable[_T], copies: Copies) -> Iterator[_T]:
    """Yield each batch with its tensors on the device, in order; the copy of the next one is started before.

    Args:
        batches: Tensors in tuples or lists, also nested; other values stay as they are.
        copies: Copies to the device (``copies_to``).
    """
    ahead: tuple[Any, Any] | None = None
    for batch in batches:
        started = copies.start(batch)
        if ahead is not None:
            copies.wait(*ahead)
            yield ahead[0]
        ahead = started
    if ahead is not None:
        copies.wait(*ahead)
        yield ahead[0]


def pinned(batch: _T, device: str | torch.device) -> _T:
    """The batch with its tensors in page-locked memory where the device is a GPU; otherwise as it is."""
    return map_tensors(batch, Tensor.pin_memory) if is_gpu(device) else batch


def is_gpu(device: str | torch.device) -> bool:
    """Whether the device is one to which copies are asynchronous."""
    return torch.device(device).type == "cuda"


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """The value with every tensor in its tuples and lists replaced by the function's result."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        parts = [map_tensors(part, function) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return [map_tensors(part, function) for part in value] if isinstance(value, list) else value


def _used_by(tensor: Tensor, stream: Any) -> Tensor:
    tensor.record_stream(stream)
    return tensor
