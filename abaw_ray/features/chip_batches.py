"""Chips of faces -> batches of their crops, decoded ahead of the network that reads them."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int, UInt8

from abaw_ray.core.errors import ItemError
from abaw_ray.faces.chips import decode_jpeg
from abaw_ray.training.loop import prefetch

Batch = tuple[Int[np.ndarray, " rows"], UInt8[np.ndarray, "crops 3 size size"]]
Crop = Callable[[UInt8[np.ndarray, "side side 3"]], list[UInt8[np.ndarray, "size size 3"]]]


def chip_batches(chips: Sequence[bytes | None], crop: Crop, size: int, num_workers: int) -> Iterator[Batch]:
    """Yield the rows of up to ``size`` chips, and their crops; those of one chip are adjacent.

    Args:
        chips: JPEG of each row, None where it has none; such rows are left out.
        crop: RGB chip -> one or more RGB crops.
        size: Chips per batch.
        num_workers: Threads that decode and crop.

    Raises:
        ItemError: a chip cannot be decoded; the message has its row number, from 1.
    """

    def pixels(rows: Int[np.ndarray, " rows"]) -> UInt8[np.ndarray, "crops 3 size size"]:
        crops = [image for row in rows for image in crop(_decode(chips, row))]
        return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))

    rows = np.flatnonzero([chip is not None for chip in chips])
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    yield from zip(batches, prefetch(batches, pixels, num_workers), strict=True)


def _decode(chips: Sequence[bytes | None], row: int) -> UInt8[np.ndarray, "side side 3"]:
    try:
        return decode_jpeg(chips[row] or b"")
    except ValueError as error:
        raise ItemError(f"the chip of row {row + 1} cannot be decoded: {error}; prepare the video's faces again") from error
