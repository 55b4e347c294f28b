"""``ANALYSIS`` rows of invented people, for tests of the pages."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS

LETTERS = dict(zip("NADFHSUO", EXPRESSIONS, strict=True))
"""One letter for each expression; U is Surprise."""
BOX = (20.0, 30.0, 60.0, 80.0)


def analysis_rows(
    labels: str,
    times: Sequence[float] | np.ndarray,
    person: str = "main",
    *,
    first: int = 1,
    box: Callable[[int], tuple] = lambda frame: BOX,
    confidence: float = 0.65,
    gate: float | None = 0.6,
    absent: Sequence[str] = (),
) -> list[dict]:
    """Rows of one person, one letter per frame: an expression, or ``.`` where there is neither a face nor a voice.

    ``first``: frame number of the first row, ``times`` has all frames of the video. The other expressions share what ``confidence`` leaves.
    ``absent``: expressions that the model does not have.
    """
    rows = []
    for frame, letter in enumerate(labels, first):
        scored, known = letter != ".", [name for name in EXPRESSIONS if name not in absent]
        rest = (1 - confidence) / (len(known) - 1)
        row = dict.fromkeys(schema.ANALYSIS.names) | {"video": "v.mp4", "person": person, "frame": frame, "time": float(times[frame - 1])}
        row |= {"seen": scored, "heard": scored, "scored": scored}
        if scored:
            row |= {f"p_{name.lower()}": confidence if name == LETTERS[letter] else rest for name in known}
            row |= dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), map(float, box(frame)), strict=True))
            row |= {"label": LETTERS[letter], "confidence": confidence, "source": "detected", "gate": gate}
        rows.append(row)
    return rows


def analysis_table(*people: list[dict]) -> pa.Table:
    """The rows of all people as one table."""
    return pa.Table.from_pylist([row for rows in people for row in rows], schema=schema.ANALYSIS)


def long_table(table: pa.Table, repeats: int, people: Sequence[str]) -> pa.Table:
    """The rows of one person over and over, for each of the people: frames and times continue, at the rate of the first two frames."""
    count, step = len(table), table["time"][1].as_py() - table["time"][0].as_py()
    frame = np.arange(1, repeats * count + 1, dtype=np.int32)
    whole = pa.concat_tables([table] * repeats)
    whole = whole.set_column(whole.column_names.index("frame"), schema.ANALYSIS.field("frame"), pa.array(frame))
    whole = whole.set_column(whole.column_names.index("time"), schema.ANALYSIS.field("time"), pa.array((frame - 1) * step))
    position, field = whole.column_names.index("person"), schema.ANALYSIS.field("person")
    return pa.concat_tables([whole.set_column(position, field, pa.array([name] * len(whole))) for name in people])
