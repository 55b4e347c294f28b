"""Collectives that return or raise, on every rank, the error of the first rank that has one."""

import pickle
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from abaw_ray.core.errors import AbawError

_T = TypeVar("_T")
_MAX_BYTES = 8192
"""Maximum size of a pickled error in bytes; its text is cut to an eighth as many characters, so that it fits."""


def on_all_ranks(build: Callable[[], _T], *, rank: int, world_size: int, mean_over_ranks: Callable[[Tensor], Tensor]) -> _T:
    """The result of ``build``; all ranks call this together.

    An error of one rank is raised on all: otherwise the others would block in their next collective until its timeout.

    Args:
        build: This rank's work.
        rank: As of ``first_error``.
        world_size: Likewise.
        mean_over_ranks: Likewise.

    Raises:
        AbawError: that of the first rank whose ``build`` failed.
    """
    results: list[_T] = []
    error = None
    try:
        results.append(build())
    except AbawError as caught:
        error = caught
    if first := first_error(error, rank=rank, world_size=world_size, mean_over_ranks=mean_over_ranks):
        raise first from error
    return results[0]


def first_error(error: AbawError | None, *, rank: int, world_size: int, mean_over_ranks: Callable[[Tensor], Tensor]) -> AbawError | None:
    """The error of the first rank that has one, on all ranks; all ranks call this together.

    Args:
        error: This rank's error.
        rank: This rank.
        world_size: Number of ranks.
        mean_over_ranks: Mean of a tensor over the ranks, with gloo or NCCL; the only collective used.
    """
    pickled = pickle.dumps(type(error)(str(error)[: _MAX_BYTES // 8])) if error else b""
    rows = torch.zeros(world_size, _MAX_BYTES)
    rows[rank, : len(pickled)] = torch.tensor(list(pickled), dtype=torch.float32)
    rows = (mean_over_ranks(rows) * world_size).round().to(torch.uint8).cpu()
    errors = [bytes(row.tolist()) for row in rows if row.any()]
    return pickle.loads(errors[0]) if errors else None
