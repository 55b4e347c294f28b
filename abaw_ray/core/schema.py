"""Schemas of all tables that are passed between stages. Rows are keyed by (video, track, frame); frames count from 1.

``frame`` is the number of the frame in the decoder's output order, ``time`` its presentation time in seconds. No row is ever dropped:
a frame without a face has ``seen = false``, one without audio ``heard = false``.
"""

from collections.abc import Sequence

import pyarrow as pa

from abaw_ray.core.errors import StageError
from abaw_ray.core.expressions import EXPRESSIONS

_CLASSES = len(EXPRESSIONS)


def _column(name: str, kind: pa.DataType, *, null: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=null)


_KEY = [_column("video", pa.string()), _column("track", pa.string()), _column("frame", pa.int32())]

MAIN_TRACK = "main"
"""The track of a video's main subject; further people are ``person-2``, ``person-3``, ...; subjects of a data set keep its names."""

VIDEO = pa.schema(
    [
        _column("video", pa.string()),  # path relative to the input's root, or the data set's name
        _column("uri", pa.string()),
        _column("identity", pa.string()),  # digest of URI, size and modification time
        _column("size", pa.int64()),  # bytes of the file
        # Named people of a data set: track and side ("left", "right" or "" for the only or main subject). Empty: people are detected.
        _column(
            "subjects",
            pa.list_(pa.struct([_column("track", pa.string()), _column("side", pa.string())])),
        ),
    ]
)
FACE = pa.schema(
    [
        *_KEY,
        _column("time", pa.float64()),
        _column("shot", pa.int32()),  # number of the shot between two cuts, from 0, ascending within a video
        _column("seen", pa.bool_()),
        _column("source", pa.string(), null=True),  # detected, followed, interpolated, given; null where not seen
        _column("box", pa.list_(pa.float32(), 4), null=True),  # x0 y0 x1 y1 in pixels of the upright frame
        _column("score", pa.float32(), null=True),
        _column("landmarks", pa.list_(pa.float32(), 10), null=True),  # x y of eyes, nose, mouth corners
        _column("chip", pa.binary(), null=True),  # JPEG of the square crop at the largest scale
        _column("chip_scale", pa.float32(), null=True),  # pixels of the chip per pixel of the frame, at most 1
        _column("inside", pa.float32(), null=True),  # fraction of the chip that lies inside the frame
    ]
)
IMAGE = pa.schema(
    [
        _column("image", pa.string()),
        _column("jpeg", pa.binary()),
        _column("label", pa.int32()),  # index into ENCODER_CLASSES
        _column("source", pa.string()),
        _column("split", pa.string()),  # train or val
        _column("scale", pa.float32()),  # side of the stored square over the longer side of the detector's box
        _column("box", pa.list_(pa.float32(), 4), null=True),  # x0 y0 x1 y1 of the detector's box in pixels of the stored square
        _column("landmarks", pa.list_(pa.float32(), 10), null=True),  # x y of eyes, nose, mouth corners, likewise
        _column("inside", pa.float32()),  # fraction of the stored square that lies inside the picture
        _column("no_face", pa.string(), null=True),  # why no face was found; null where one was
    ]
)
ANNOTATED_IMAGE = pa.schema([*IMAGE, _column("subject", pa.string())])
"""Chips of annotated videos as images; ``subject`` is the name of the person, for the checks of encoders per fold."""
LOGITS = pa.schema([*_KEY, _column("fold", pa.int32()), _column("logits", pa.list_(pa.float32(), _CLASSES)), _column("gate", pa.float32())])
PREDICTION = pa.schema(
    [
        *_KEY,
        _column("time", pa.float64()),
        _column("seen", pa.bool_()),
        _column("heard", pa.bool_()),
        _column("scored", pa.bool_()),
        _column("box", pa.list_(pa.float32(), 4), null=True),
        _column("probability", pa.list_(pa.float32(), _CLASSES), null=True),
        _column("label", pa.string(), null=True),  # null where not scored
    ]
)
ANALYSIS = pa.schema(
    [
        _column("video", pa.string()),  # name as in the user's input
        _column("person", pa.string()),  # main, person-2, ...
        _column("frame", pa.int32()),
        _column("time", pa.float64()),
        _column("seen", pa.bool_()),
        _column("heard", pa.bool_()),
        _column("scored", pa.bool_()),
        _column("label", pa.string(), null=True),  # most probable expression; null where not scored, like all columns below it
        _column("confidence", pa.float32(), null=True),  # probability of that expression
        *(_column(f"p_{name.lower()}", pa.float32(), null=True) for name in EXPRESSIONS),  # null for an expression that the model does not have
        *(_column(f"box_{edge}", pa.float32(), null=True) for edge in ("x0", "y0", "x1", "y1")),  # pixels of the upright frame
        _column("source", pa.string(), null=True),  # of the box: detected, followed, interpolated, given
        _column("gate", pa.float32(), null=True),  # weight of the face against the voice; null for models without a voice
    ]
)
"""What users get: one scalar per column."""

FAILURE = pa.schema(
    [
        _column("item", pa.string()),
        _column("stage", pa.string()),
        _column("reason", pa.string()),
        _column("last_frame", pa.int32(), null=True),
    ]
)


def feature(visual: int, speech: int, classes: Sequence[str] = ()) -> pa.Schema:
    """Schema of the ``FEATURE`` table for vectors of the given widths. A vector is null where its modality is missing, never zeros.

    With ``classes``, the column ``logits`` has one number for each; their names are in its metadata (``classes``, separated by commas).
    """
    logits = [pa.field("logits", pa.list_(pa.float16(), len(classes)), metadata={"classes": ",".join(classes)})] if classes else []
    return pa.schema(
        [
            *_KEY,
            _column("time", pa.float64()),
            _column("shot", pa.int32()),
            _column("seen", pa.bool_()),
            _column("heard", pa.bool_()),
            _column("visual", pa.list_(pa.float16(), visual), null=True),
            _column("speech", pa.list_(pa.float16(), speech), null=True),
            *logits,
        ]
    )


def visual_feature(width: int) -> pa.Schema:
    """Schema of the ``VISUAL`` table: visual vectors of an encoder per fold, of the given width; null where no face is seen."""
    return pa.schema([*_KEY, _column("seen", pa.bool_()), _column("visual", pa.list_(pa.float16(), width), null=True)])


def conform(table: pa.Table, schema: pa.Schema, *, stage: str) -> pa.Table:
    """The table in exactly this schema: column order, types and nullability.

    Raises:
        StageError: a column is missing, unknown, of another type, or null where it must not be. The message names stage and column.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    unknown = [name for name in table.column_names if name not in schema.names]
    if missing or unknown:
        raise StageError(f"{stage}: table has no column {missing} and unknown columns {unknown}")
    columns = []
    for field in schema:
        column = table.column(field.name)
        if not field.nullable and column.null_count:
            raise StageError(f"{stage}: column '{field.name}' is null in {column.null_count} of {len(column)} rows")
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise StageError(f"{stage}: column '{field.name}' is {column.type}, not {field.type}: {error}") from error
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)
