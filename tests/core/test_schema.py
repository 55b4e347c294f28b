import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import StageError
from abaw_ray.core.expressions import AFFECTNET, ENCODER_CLASSES, EXPRESSIONS, RAFDB, class_counts, class_weights

FAILURES = [{"item": "a", "stage": "faces", "reason": "broken", "last_frame": None}]


def test_a_table_in_the_schema_is_returned_in_the_schemas_column_order():
    table = pa.Table.from_pylist(FAILURES).select(["reason", "item", "stage", "last_frame"])
    assert schema.conform(table, schema.FAILURE, stage="test").schema.equals(schema.FAILURE)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"item": ["a"]}), "no column"),
        (pa.Table.from_pylist([{**FAILURES[0], "item": None}], schema=pa.schema([(f.name, f.type) for f in schema.FAILURE])), "'item' is null"),
        (pa.Table.from_pylist([{**FAILURES[0], "last_frame": "x"}]), "'last_frame' is string"),
    ],
)
def test_a_table_that_breaks_the_schema_names_stage_and_column(table, message):
    with pytest.raises(StageError, match=f"faces: .*{message}"):
        schema.conform(table, schema.FAILURE, stage="faces")


def test_the_data_sets_share_seven_names_at_different_indices():
    assert set(AFFECTNET) - {"Contempt"} == set(RAFDB) == set(EXPRESSIONS) - {"Other"}
    assert "Other" not in ENCODER_CLASSES
    assert AFFECTNET.index("Anger") != EXPRESSIONS.index("Anger")
    assert RAFDB[3] == "Happiness"  # id 4 of 1..7


def test_class_weights_are_the_largest_count_over_each_and_zero_where_there_is_none():
    import numpy as np

    labels = np.array([0, 0, 0, 1, -1, -1])
    assert class_weights(class_counts(labels, 3)).tolist() == [1.0, 3.0, 0.0]
    assert class_weights(class_counts(labels, 3, np.array([1.0, 1.0, 1.0, 3.0, 9.0, 9.0]))).tolist() == [1.0, 1.0, 0.0]
