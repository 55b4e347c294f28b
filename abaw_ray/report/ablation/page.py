"""Renders the table of an ablation as one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray import __version__
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.ablation.rows import AblationRow
from abaw_ray.report.difference_axis import DifferenceAxis, difference_axis
from abaw_ray.report.web.html import BASE_CSS, THEME_CSS, content_policy, environment, read_inline, write_page

_FOLDER = Path(__file__).parent
ABLATION_CSS = _FOLDER / "ablation.css"
"""Style of the table."""


@dataclass(frozen=True, kw_only=True)
class AblationPage:
    """Content of the page."""

    rows: Sequence[AblationRow]
    """In the order of the table."""
    run: str = ""
    """Where the results are."""
    synthetic: bool = False
    """Whether the data are generated."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Reason by run that failed."""


def write_ablation(target: Storage | Path, page: AblationPage, *, name: str = "ablation.html") -> str:
    """Write the page atomically; returns its local path or URI.

    Raises:
        StorageError: the target cannot be written.
    """
    return write_page(target, name, render_ablation(page))


def render_ablation(page: AblationPage) -> str:
    """HTML of the page; the same input gives the same text."""
    return (
        environment(_FOLDER)
        .get_template("ablation.html")
        .render(
            page=page,
            table=ablation_table(page.rows),
            css=read_inline(BASE_CSS, THEME_CSS, ABLATION_CSS),
            policy=content_policy(""),
            version=__version__,
        )
    )


def ablation_table(rows: Sequence[AblationRow]) -> dict[str, Any]:
    """Values of ``table.html``: the rows by part, the end of the axis, and the seeds."""
    shown = [value for row in rows for value in (row.difference, *row.differences, *(row.interval or ()))]
    axis = difference_axis(shown, steps_per_unit=20)
    parts = [(part, [_row(row, axis) for row in of_part]) for part, of_part in groupby(rows, key=lambda row: row.part)]
    return {"parts": parts, "limit": axis.limit, "seeds": max((row.seeds for row in rows), key=len, default=[])}


def _row(row: AblationRow, axis: DifferenceAxis) -> dict[str, Any]:
    """Values of a row, and their places on the axis in percent of its width."""
    low, high = row.interval or (row.difference, row.difference)
    return {
        "row": row,
        "with": np.mean(row.with_part),
        "without": np.mean(row.without_part),
        "left": axis.place(low),
        "width": axis.place(high) - axis.place(low),
        "at": axis.place(row.difference),
        "dots": [axis.place(one) for one in row.differences],
        "excludes_zero": bool(row.interval and (low > 0 or high < 0)),
    }
