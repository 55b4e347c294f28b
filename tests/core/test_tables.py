import pyarrow as pa
import pytest

from abaw_ray.core.tables import rows_of_track


@pytest.mark.parametrize(("track", "times"), [("main", [0.0, 0.1, 0.2]), ("person-2", [0.5]), ("person-3", [])])
def test_the_rows_of_a_track_are_sorted_by_frame_whatever_the_order_and_the_chunks_of_the_table(track, times):
    rows = [("main", 3, 0.2), ("person-2", 2, 0.5), ("main", 1, 0.0), ("main", 2, 0.1)]
    chunks = [pa.Table.from_pylist([dict(zip(("track", "frame", "time"), row, strict=True))]) for row in rows]
    assert rows_of_track(pa.concat_tables(chunks), track)["time"].to_pylist() == times
