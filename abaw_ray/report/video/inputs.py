"""Input of the pages: one analyzed video, or the list of many. ``page`` and ``index`` render them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from abaw_ray.core import schema
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import EXPRESSIONS


@dataclass(frozen=True, kw_only=True)
class AudioLevel:
    """Loudness of the audio over time; about ten values per second are enough."""

    time: Float[np.ndarray, " blocks"]
    """Start of each block in seconds on the clock of the frames, ascending."""
    level: Float[np.ndarray, " blocks"]
    """Root mean square in dB relative to full scale, 0 or less; NaN where there is no audio."""

    def __post_init__(self) -> None:
        """Reject arrays of different lengths."""
        if len(self.time) != len(self.level):
            raise ValueError(f"audio level: {len(self.time)} times but {len(self.level)} levels")


@dataclass(frozen=True, kw_only=True)
class VideoPage:
    """One analyzed video. The page omits what is None or empty."""

    title: str
    table: pa.Table
    """``ANALYSIS`` rows of the video, sorted by person and frame."""
    width: int
    height: int
    """Pixels of the upright frame, to which the boxes refer."""
    end_s: float | None = None
    """End of the video's last frame in seconds; None: the last frame of the table gets the median duration of the others."""
    video: str | bytes | None = None
    """Path of the video relative to the page, or its content to embed; None if there is no video that a browser plays."""
    media_type: str = "video/mp4"
    """Media type of embedded content."""
    video_start: float | None = None
    """Time of the first frame of the video in seconds, where the table may begin later; None for that of the table."""
    analyzed_from: float | None = None
    analyzed_to: float | None = None
    """Times in seconds between which frames are analyzed; frames outside have no boxes. None: from the first frame, to the last one."""
    audio: AudioLevel | None = None
    notes: Sequence[str] = ()
    """Notes on the model, for example its license or the data on which it was trained."""
    csv: str | None = None
    """Path of the table as CSV, relative to the page."""
    index: str | None = None
    """Path of the list of videos, relative to the page."""

    def __post_init__(self) -> None:
        """Reject sizes below 1 and paths that are not relative."""
        object.__setattr__(self, "table", schema.conform(self.table, schema.ANALYSIS, stage="video page"))
        if min(self.width, self.height) < 1:
            raise ConfigError(f"{self.title}: the frame has {self.width}x{self.height} pixels; give the size of the upright frame")
        for href in (self.video, self.csv, self.index):
            if isinstance(href, str):
                quote_relative(href)

    @property
    def is_part(self) -> bool:
        """Whether only a part of the video is analyzed."""
        return self.analyzed_from is not None or self.analyzed_to is not None

    def ordered_people(self) -> list[str]:
        """Names of the people in the order in which the page shows them: that of the table, ``main`` first."""
        return sorted(self.table["person"].unique().to_pylist(), key=lambda name: name != schema.MAIN_TRACK)


@dataclass(frozen=True, kw_only=True)
class IndexRow:
    """One video in the list. Values are None where the analysis failed before they were known."""

    title: str
    page: str | None = None
    """Path of the video's page, relative to the list."""
    thumbnail: bytes | str | None = None
    """A small JPEG (about 160 pixels wide), or its path relative to the list."""
    duration_s: float | None = None
    people: int | None = None
    seen: float | None = None
    """Fraction of the main person's time in which the face is seen."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Fraction of the main person's scored time with each expression."""
    failure: str | None = None
    """Why the video could not be analyzed, or not completely."""

    def __post_init__(self) -> None:
        """Reject paths that are not relative and unknown expressions."""
        for href in (self.page, self.thumbnail):
            if isinstance(href, str):
                quote_relative(href)
        if unknown := set(self.shares) - set(EXPRESSIONS):
            raise ConfigError(f"{self.title}: unknown expressions {sorted(unknown)}; known are {', '.join(EXPRESSIONS)}")


@dataclass(frozen=True, kw_only=True)
class VideoIndex:
    """The list of many videos."""

    rows: Sequence[IndexRow]
    notes: Sequence[str] = ()


def quote_relative(path: str) -> str:
    """A relative path with ``/`` as a relative URL: every other special character is escaped.

    Raises:
        ConfigError: the path is absolute or has a scheme; then the pages could not be moved together.
    """
    if not path or path.startswith("/") or "://" in path:
        raise ConfigError(f"'{path}' is not a relative path; pages link to files beside them")
    return quote(path, safe="/")  # escapes ":" too, so that 'a:b.mp4' does not get a scheme
