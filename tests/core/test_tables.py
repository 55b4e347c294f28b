import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.core.errors import DataError
from abaw_ray.core.tables import float_array, index_array, list_array, name_array, rows_of_person, rows_of_track

LISTS = st.lists(st.none() | st.lists(st.none() | st.floats(-100, 100, width=16), min_size=3, max_size=3), max_size=12)


@pytest.mark.parametrize(("track", "times"), [("main", [0.0, 0.1, 0.2]), ("person-2", [0.5]), ("person-3", [])])
def test_the_rows_of_a_track_or_person_are_sorted_by_frame_whatever_the_order_and_the_chunks_of_the_table(track, times):
    rows = [("main", 3, 0.2), ("person-2", 2, 0.5), ("main", 1, 0.0), ("main", 2, 0.1)]
    for rows_of, key in ((rows_of_track, "track"), (rows_of_person, "person")):
        chunks = [pa.Table.from_pylist([dict(zip((key, "frame", "time"), row, strict=True))]) for row in rows]
        assert rows_of(pa.concat_tables(chunks), track)["time"].to_pylist() == times


def expected_array(rows):
    return np.array([[np.nan] * 3 if row is None else [np.nan if value is None else value for value in row] for row in rows]).reshape(-1, 3)


@given(LISTS, LISTS, st.integers(0, 5), st.sampled_from([pa.float16(), pa.float32(), pa.float64()]))
def test_lists_become_rows_with_nan_for_null_whatever_the_chunks_and_the_slice(first, second, offset, kind):
    column = pa.chunked_array([pa.array(part, pa.list_(kind, 3)) for part in (first, second)]).slice(offset)
    found = list_array(column)
    assert found.dtype == kind.to_pandas_dtype()
    np.testing.assert_array_equal(found, expected_array([*first, *second][offset:]))
    array = pa.array(second, pa.list_(kind, 3)).slice(offset)
    np.testing.assert_array_equal(list_array(array), expected_array(second[offset:]))


def test_the_values_below_a_null_row_are_not_read():
    values = pa.array(np.arange(8, dtype=np.float32))
    array = pa.FixedSizeListArray.from_arrays(values, 2, mask=pa.array([False, True, False, False]))
    assert array.values.to_pylist()[2:4] == [2, 3]
    np.testing.assert_array_equal(list_array(array), [[0, 1], [np.nan, np.nan], [4, 5], [6, 7]])
    np.testing.assert_array_equal(list_array(array.slice(1, 2)), [[np.nan, np.nan], [4, 5]])
    np.testing.assert_array_equal(list_array(array.slice(1, 2), missing=0), [[0, 0], [4, 5]])


def test_a_column_without_chunks_has_the_width_of_its_type():
    assert list_array(pa.chunked_array([], pa.list_(pa.float32(), 4))).shape == (0, 4)


def test_columns_of_numbers_side_by_side_are_nan_where_null():
    table = pa.table({"a": pa.array([1.5, None], pa.float32()), "b": pa.array([2, 3], pa.int32())})
    np.testing.assert_array_equal(float_array(pa.concat_tables([table, table]), ["b", "a"]), [[2, 1.5], [3, np.nan]] * 2)


@given(st.lists(st.sampled_from(["x", "y", None]), max_size=9))
def test_names_become_indices_and_back(names):
    column = pa.chunked_array([pa.array(names, pa.string()), pa.array(["y"])])
    index = index_array(column, ("x", "y"))
    assert index.tolist() == [{"x": 0, "y": 1, None: -1}[name] for name in [*names, "y"]]
    assert name_array(index.astype(np.int8), ("x", "y")).to_pylist() == column.to_pylist()


def test_a_name_that_is_not_known_is_refused():
    with pytest.raises(DataError, match=r"\['Joy'\]; known are Anger, Fear"):
        index_array(pa.chunked_array([pa.array(["Joy", None, "Fear"])]), ("Anger", "Fear"))
