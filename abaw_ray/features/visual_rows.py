"""``FACE`` rows -> ``VISUAL`` rows: the visual vectors alone, of another encoder than that of the still images."""

import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.features.extract import check_chips, vector_column
from abaw_ray.features.visual import VisualFeatures


def visual_rows(visual: VisualFeatures, faces: pa.Table) -> pa.Table:
    """One row for each row of ``faces``, in the same order.

    Raises:
        ItemError: a chip cannot be decoded.
        StageError: a row is marked as seen and has no chip, or has a chip and is not seen; the encoder returns numbers that are not finite.
    """
    output = visual(faces.column("chip").to_pylist())
    check_chips(faces, output.has_chip)
    columns = {name: faces.column(name) for name in ("video", "track", "frame", "seen")}
    table = pa.table(columns | {"visual": vector_column(output.vectors, output.has_chip)})
    return schema.conform(table, schema.visual_feature(visual.dim), stage="fold_features")
