"""Operations on tables with one row per frame and person, and on their columns."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float, Int

from abaw_ray.core.errors import DataError


def rows_of_track(table: pa.Table, track: str) -> pa.Table:
    """The rows of one track, sorted by frame; empty where the table has none.

    Args:
        table: Rows of one video, with the columns ``track`` and ``frame``.
        track: Name of the track.
    """
    return table.filter(pc.field("track") == track).sort_by("frame")


def rows_of_person(table: pa.Table, person: str) -> pa.Table:
    """The rows of one person of an ``ANALYSIS`` table, sorted by frame; empty where the table has none."""
    return table.filter(pc.field("person") == person).sort_by("frame")


def list_array(column: pa.ChunkedArray | pa.FixedSizeListArray, missing: float = np.nan) -> Float[np.ndarray, "rows width"]:
    """A column of fixed-size lists of floating-point numbers as an array of the same type; a null within a list becomes NaN.

    Args:
        column: The column.
        missing: The values of a row that is null.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    out = np.full((len(array), array.type.list_size), missing, array.type.value_type.to_pandas_dtype())
    values = array.flatten().to_numpy(zero_copy_only=False)  # without those of null rows
    out[array.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, array.type.list_size)
    return out


def float_array(table: pa.Table, names: Sequence[str]) -> Float[np.ndarray, "rows columns"]:
    """These columns of numbers side by side as float64; NaN where null."""
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)


def index_array(column: pa.ChunkedArray, names: Sequence[str]) -> Int[np.ndarray, " rows"]:
    """Index into ``names`` of each string of a column; -1 where null.

    Raises:
        DataError: the column has a string that is none of them.
    """
    index = pc.call_function("index_in", [column], pc.SetLookupOptions(value_set=pa.array(names, pa.string())))
    if index.null_count > column.null_count:
        unknown = sorted(set(column.unique().to_pylist()) - {*names, None})
        raise DataError(f"a column has the values {unknown[:3]}; known are {', '.join(names)}; the table was not written by this version")
    return index.fill_null(-1).to_numpy().astype(np.int64)


def name_array(index: Int[np.ndarray, " rows"], names: Sequence[str]) -> pa.Array:
    """The inverse of ``index_array``: null where the index is negative."""
    return pa.array(names, pa.string()).take(pa.array(index, mask=index < 0))
