"""Columns of frames that are collected part by part: the vectors of all frames of a data set take gigabytes, so they are in memory once."""

from collections.abc import Mapping

import numpy as np

from abaw_ray.core.errors import StageError

GROWTH = 1.125
"""Factor by which the memory of a column grows. A large block grows in place, or its pages move without a copy. Ours."""


class FrameColumns:
    """One array per column, to which rows are appended."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._rows = 0

    def __len__(self) -> int:
        """Number of rows."""
        return self._rows

    def append(self, part: Mapping[str, np.ndarray]) -> None:
        """Append rows: one array per column, all of the same length; the first part gives types and widths.

        Raises:
            StageError: a part has vectors of another width.
        """
        rows = len(next(iter(part.values())))
        for name, values in part.items():
            array = self._arrays.setdefault(name, np.empty((0, *values.shape[1:]), values.dtype))
            if array.shape[1:] != values.shape[1:]:
                widths = sorted({array.shape[1], values.shape[1]})
                raise StageError(f"fusion: '{name}' vectors have widths {' and '.join(map(str, widths))}; use features of one stage output")
            if self._rows + rows > len(array):
                array.resize((max(self._rows + rows, int(GROWTH * len(array))), *array.shape[1:]), refcheck=False)
            array[self._rows : self._rows + rows] = values
        self._rows += rows

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns; nothing may be appended later."""
        for array in self._arrays.values():
            array.resize((self._rows, *array.shape[1:]), refcheck=False)
        return self._arrays
