"""JPEG chips of faces -> batches that are decoded and prepared ahead of the network that reads them."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Int, UInt8

from abaw_ray.core.errors import ItemError
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.training.loop import Prefetcher

_T = TypeVar("_T")
Chip = UInt8[np.ndarray, "_ _ 3"]
"""RGB, square; chips of one batch differ in their side."""


def chip_batches(
    chips: Sequence[bytes | None], prepare: Callable[[list[Chip]], _T], size: int, readers: Prefetcher
) -> Iterator[tuple[Int[np.ndarray, " rows"], _T]]:
    """Yield the rows of up to ``size`` chips, and what ``prepare`` makes of them.

    Args:
        chips: JPEG of each row, None where it has none; such rows are left out.
        prepare: RGB chips, whose sides may differ -> the input of the network; called in the readers' threads.
        size: Chips per batch.
        readers: Threads that decode and prepare.

    Raises:
        ItemError: a chip cannot be decoded; the message has its row number, from 1.
    """
    rows = np.flatnonzero([chip is not None for chip in chips])
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    yield from zip(batches, readers(batches, lambda batch: prepare([_decode(chips, row) for row in batch])), strict=True)


def _decode(chips: Sequence[bytes | None], row: int) -> Chip:
    try:
        return decode_jpeg(chips[row] or b"")
    except ValueError as error:
        raise ItemError(f"the chip of row {row + 1} cannot be decoded: {error}; prepare the video's faces again") from error
