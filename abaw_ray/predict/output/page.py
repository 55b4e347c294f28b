"""An analysis -> the input of its page, and its row in the list of videos."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.report.video.inputs import AudioLevel, IndexRow, VideoPage


@dataclass(frozen=True, kw_only=True)
class PageVideo:
    """The video that a page plays."""

    video: str | bytes | None = None
    """Its path relative to the page, or its content to embed; None for a page without a player."""
    media_type: str = "video/mp4"
    """Media type of embedded content."""
    is_copy: bool = False
    """Whether it is a copy that was written beside the page."""
    note: str = ""
    """What the user should know about it."""


def video_page(analysis: AnalysisData, *, video: PageVideo, csv: str | None, index: str | None) -> VideoPage:
    """The page of one video.

    Args:
        analysis: The analysis.
        video: Its video.
        csv: Path of the table relative to the page.
        index: Path of the list of videos relative to the page.
    """
    level, info = analysis.level, analysis.video
    return VideoPage(
        title=info.name,
        table=analysis.table,
        width=max(info.width, 1),
        height=max(info.height, 1),
        end_s=info.end_s,
        video=video.video,
        media_type=video.media_type,
        video_start=info.start_s,
        analyzed_from=info.analyzed_from_s,
        analyzed_to=info.analyzed_to_s,
        audio=level and AudioLevel(time=level.start_s + level.interval_s * np.arange(len(level.dbfs)), level=level.dbfs.astype(float)),
        notes=[*analysis.model.notices, *analysis.notes, *([video.note] if video.note else [])],
        csv=csv,
        index=index,
    )


def index_row(video: str, summary: pa.Table, *, page: str | None, duration_s: float, thumbnail: bytes | None, failure: str | None) -> IndexRow:
    """The row of one analyzed video.

    Args:
        video: Its name.
        summary: Its rows of ``SUMMARY``.
        page: Path of its page relative to the list.
        duration_s: Duration of its analyzed part in seconds; 0 for an image.
        thumbnail: A small JPEG.
        failure: Why it was not analyzed to its end.
    """
    main = next((row for row in summary.to_pylist() if row["person"] == MAIN_TRACK), None)
    shares = {} if main is None else {name: main[f"share_{name.lower()}"] for name in EXPRESSIONS if main[f"share_{name.lower()}"] is not None}
    return IndexRow(
        title=video,
        page=page,
        thumbnail=thumbnail,
        duration_s=duration_s or None,
        people=len(summary),
        seen=None if main is None else main["share_seen"],
        shares=shares,
        failure=failure,
    )


def relative_path(target: Path, page: Path) -> str:
    """Path of a local file relative to the folder of a page, with ``/``."""
    return PurePosixPath(os.path.relpath(target.resolve(), page.resolve().parent)).as_posix()
