"""Operations on tables with one row per frame and person."""

import pyarrow as pa
import pyarrow.compute as pc


def rows_of_track(table: pa.Table, track: str) -> pa.Table:
    """The rows of one track, sorted by frame; empty where the table has none.

    Args:
        table: Rows of one video, with the columns ``track`` and ``frame``.
        track: Name of the track.
    """
    return table.filter(pc.field("track") == track).sort_by("frame")


def rows_of_person(table: pa.Table, person: str) -> pa.Table:
    """The rows of one person of an ``ANALYSIS`` table, in its order; empty where the table has none."""
    return table.filter(pc.field("person") == person)
