"""Reading of the chips in outputs of the stage ``faces``, which may have been deleted (``keep_chips``)."""

from pathlib import Path

import pyarrow.parquet as pq

from abaw_ray.cluster.engine.column_read import ColumnRead
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.core.errors import ItemError

CHIPS = ColumnRead(
    stage=PREPARE_FACES,
    column="chip",
    text="face crops",
    output=lambda payload: payload["faces"],
    keys=("track", "frame"),
    keep=lambda config: config.keep_chips,
)
"""The chips of FACE outputs, for stages whose payloads have the output's path as ``faces``."""


def open_with_chips(path: Path) -> pq.ParquetFile:
    """Open a local FACE output whose chips are read.

    Raises:
        ItemError: its chips were deleted. They are made again before the work starts, so that has failed, or another job has deleted them since.
    """
    file = pq.ParquetFile(path)
    if CHIPS.column in file.schema_arrow.names:
        return file
    file.close()
    raise ItemError("its face crops were deleted: they could not be made again, or another command has deleted them since; add --retry-failures")
