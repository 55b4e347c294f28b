"""Results of a device -> host arrays, one batch late: the host launches the next batch before it waits for the previous one."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

_T = TypeVar("_T")


def one_batch_late(results: Iterable[tuple[_T, Tensor]]) -> Iterator[tuple[_T, np.ndarray]]:
    """Yield each key with its result as an array, after the following result was requested.

    On a GPU, a result is copied to pinned memory right behind the work that computes it, and the wait is for this copy alone.
    """
    previous: tuple[_T, Tensor, Any] | None = None
    for key, values in results:
        host, copied = _start_copy(values)
        if previous is not None:
            yield _finish(*previous)
        previous = key, host, copied
    if previous is not None:
        yield _finish(*previous)


def _start_copy(values: Tensor) -> tuple[Tensor, Any]:
    if values.device.type != "cuda":
        return values, None
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return host, copied


def _finish(key: _T, host: Tensor, copied: Any) -> tuple[_T, np.ndarray]:
    if copied is not None:
        copied.synchronize()
    return key, host.numpy()
