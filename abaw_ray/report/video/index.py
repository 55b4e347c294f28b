"""Renders the list of many analyzed videos as one HTML page, with search and sorting, and links to the pages of the videos.

The document holds one page of rows at a time, so 100,000 videos open as fast as 100; their names and values are in the page as data.
"""

import base64
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from abaw_ray import __version__
from abaw_ray.core.expressions import COLORS, EXPRESSIONS
from abaw_ray.core.storage.storage import Storage
from abaw_ray.report.video.config import IndexConfig
from abaw_ray.report.video.inputs import IndexRow, VideoIndex, quote_relative
from abaw_ray.report.web.encoding import quantize, to_base64
from abaw_ray.report.web.html import (
    BASE_CSS,
    FORMAT_JS,
    SERIES_JS,
    THEME_CSS,
    content_policy,
    environment,
    format_count,
    format_duration,
    read_inline,
    write_page,
)

_ASSETS = Path(__file__).parent / "assets" / "list"
_TITLE = "Analyzed videos"
_COLUMNS = (("title", "Video"), ("duration", "Duration"), ("people", "People"), ("seen", "Face seen"), ("expression", "Expressions"))


def write_index(target: Storage | Path, index: VideoIndex, *, name: str = "index.html", config: IndexConfig | None = None) -> str:
    """Write the list of videos atomically.

    Args:
        target: A storage, or a local folder.
        index: Content; its paths are relative to the list.
        name: Path of the list below the target.
        config: Limits on the content.

    Returns:
        Local path or URI of the list.

    Raises:
        StorageError: the target cannot be written.
    """
    return write_page(target, name, render_index(index, config))


def render_index(index: VideoIndex, config: IndexConfig | None = None) -> str:
    """HTML of the list; the same input gives the same text."""
    config = config or IndexConfig()
    script = read_inline(FORMAT_JS, SERIES_JS, _ASSETS / "index.js")
    thumbnails, omitted = _thumbnails(index.rows, int(config.max_thumbnail_mb * 1e6))
    notes = list(index.notes)
    if omitted:
        notes.append(f"{omitted:,} thumbnails are left out: together they are larger than max_thumbnail_mb={config.max_thumbnail_mb:g}.")
    failed = sum(row.failure is not None for row in index.rows)
    return (
        environment(_ASSETS)
        .get_template("index.html")
        .render(
            title=_TITLE,
            css=read_inline(BASE_CSS, THEME_CSS, _ASSETS / "index.css"),
            script=script,
            policy=content_policy(script, img_src="'self' data:"),
            facts=_facts(index, failed),
            notes=notes,
            failed=failed,
            columns=_COLUMNS,
            data=_columns(index.rows, thumbnails) | {"rowsPerPage": config.rows_per_page},
        )
    )


def _columns(rows: Sequence[IndexRow], thumbnails: list[str | None]) -> dict[str, Any]:
    """JSON values by column, which is shorter than by row."""
    return {
        "expressions": list(EXPRESSIONS),
        "colors": [COLORS[name] for name in EXPRESSIONS],
        "title": [row.title for row in rows],
        "page": [row.page and quote_relative(row.page) for row in rows],
        "thumbnail": thumbnails,
        "duration": [None if row.duration_s is None else round(row.duration_s, 2) for row in rows],
        "people": [row.people for row in rows],
        "seen": [None if row.seen is None else round(row.seen, 4) for row in rows],
        "shares": to_base64(quantize(np.array([_shares(row) for row in rows], np.float32).reshape(-1, len(EXPRESSIONS)))),
        "failure": [row.failure for row in rows],
    }


def _shares(row: IndexRow) -> list[float]:
    """Share of each expression; NaN without a scored frame."""
    return [row.shares.get(name, 0.0) for name in EXPRESSIONS] if row.shares else [math.nan] * len(EXPRESSIONS)


def _thumbnails(rows: Sequence[IndexRow], limit: int) -> tuple[list[str | None], int]:
    """Addresses of the thumbnails, embedded ones in row order up to ``limit`` bytes; and the number of those left out."""
    addresses: list[str | None] = []
    size = omitted = 0
    for row in rows:
        image = row.thumbnail
        if isinstance(image, bytes):
            size += len(image)
            omitted += size > limit
            addresses.append(f"data:image/jpeg;base64,{base64.b64encode(image).decode()}" if size <= limit else None)
        else:
            addresses.append(image and quote_relative(image))
    return addresses, omitted


def _facts(index: VideoIndex, failed: int) -> list[str]:
    """The line under the title."""
    durations = [row.duration_s for row in index.rows if row.duration_s is not None]
    people = sum(row.people or 0 for row in index.rows)
    count = len(index.rows)
    facts = ["1 video" if count == 1 else f"{format_count(count)} videos", f"{format_count(failed)} failed" if failed else "none failed"]
    if durations:
        facts.append(f"{format_duration(sum(durations))} in all")
    if people:
        facts.append("1 person" if people == 1 else f"{format_count(people)} people")
    return [*facts, f"abaw_ray {__version__}"]
