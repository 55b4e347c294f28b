"""An analysis -> the input of its page, and its row in the list of videos."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.report.video.inputs import AudioLevel, IndexRow, VideoPage


def video_page(analysis: AnalysisData, *, video: str | bytes | None, csv: str | None, index: str | None) -> VideoPage:
    """The page of one video.

    Args:
        analysis: The analysis.
        video: Path of a playable video relative to the page, or its content to embed; None for a page without a player.
        csv: Path of the table relative to the page.
        index: Path of the list of videos relative to the page.
    """
    level = analysis.level
    return VideoPage(
        title=analysis.video.name,
        table=analysis.table,
        width=max(analysis.video.width, 1),
        height=max(analysis.video.height, 1),
        end_s=analysis.video.end_s,
        video=video,
        audio=level and AudioLevel(time=level.start_s + level.interval_s * np.arange(len(level.dbfs)), level=level.dbfs.astype(float)),
        notes=[*analysis.model.notices, *analysis.notes],
        csv=csv,
        index=index,
    )


def index_row(video: str, summary: pa.Table, *, page: str | None, duration_s: float, thumbnail: bytes | None, failure: str | None) -> IndexRow:
    """The row of one analyzed video.

    Args:
        video: Its name.
        summary: Its rows of ``SUMMARY``.
        page: Path of its page relative to the list.
        duration_s: Its duration in seconds; 0 for an image.
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
