"""ANALYSIS rows for tests: the expression of each frame follows from its number."""

import numpy as np
import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS


def label_of(frame):
    return frame % len(EXPRESSIONS)


def analysis_rows(person, times, *, box=(20, 30, 60, 80), first=1, seen=True, scored=True, heard=False, without=()):
    """Rows of one person for consecutive frames; ``without``: names of expressions that the model does not have."""
    rows = []
    for at, time in enumerate(np.asarray(times).tolist()):
        frame = first + at
        probability = np.full(len(EXPRESSIONS), 0.05)
        probability[label_of(frame)] = 1 - 0.05 * (len(EXPRESSIONS) - 1)
        row = {"video": "v.mp4", "person": person, "frame": frame, "time": time, "seen": seen, "heard": heard, "scored": scored}
        if scored:
            row |= {"label": EXPRESSIONS[label_of(frame)], "confidence": probability.max()}
            row |= {f"p_{name.lower()}": value for name, value in zip(EXPRESSIONS, probability, strict=True) if name not in without}
        if seen:
            row |= dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), box, strict=True)) | {"source": "detected"}
        rows.append(row)
    return rows


def analysis_table(*people):
    return pa.Table.from_pylist([row for rows in people for row in rows], schema=schema.ANALYSIS)
