"""A file of FACE rows -> the tracks of its video as arrays, their gaps, and a selection of frames; chips of those frames only.

An output may hold gigabytes of chips, so they are read only for the frames that ``contact_sheet.py`` and ``overlay.py`` show.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from abaw_ray.core.errors import DataError
from abaw_ray.core.frame_times import FrameTimes, frame_ends
from abaw_ray.core.tables import index_array, list_array, rows_of_track

STATES = ("not seen", "detected", "followed", "interpolated", "given")
"""States of a frame; the last four are the sources of a FACE row."""
_COLUMNS = ("video", "track", "frame", "time", "seen", "source", "box", "score")


@dataclass(frozen=True, eq=False, kw_only=True)
class Track:
    """Rows of one person, frames ascending."""

    video: str
    name: str
    frame: Int[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    """Seconds."""
    state: Int[np.ndarray, " rows"]
    """Index into ``STATES``."""
    box: Float[np.ndarray, "rows 4"]
    """x0 y0 x1 y1 in pixels of the frame; NaN where not seen."""
    score: Float[np.ndarray, " rows"]
    """NaN where not seen or interpolated."""

    @property
    def seen(self) -> Bool[np.ndarray, " rows"]:
        """Whether a row has a face."""
        return self.state > 0

    def counts(self) -> dict[str, int]:
        """Return the number of rows of each state that occurs, in the order of ``STATES``."""
        found = Counter(self.state.tolist())
        return {name: found[index] for index, name in enumerate(STATES) if found[index]}

    def at(self, frame: int) -> int | None:
        """Return the row of a frame; None where the track has none."""
        row = int(np.searchsorted(self.frame, frame))
        return row if row < len(self.frame) and self.frame[row] == frame else None


@dataclass(frozen=True)
class Gap:
    """Consecutive rows of a track without a face."""

    first: int
    last: int
    """Frame numbers."""
    start: float
    stop: float
    """Presentation times in seconds of the first frame and of the frame after the last."""


def read_tracks(path: Path) -> dict[str, Track]:
    """Return the tracks in a Parquet file of FACE rows by name, without their chips.

    Raises:
        DataError: the file does not exist, does not hold FACE rows, or does not hold the rows of exactly one video.
    """
    try:
        missing = [name for name in _COLUMNS if name not in pq.read_schema(path).names]
        table = pq.read_table(path, columns=[] if missing else list(_COLUMNS), partitioning=None)  # pyright: ignore[reportArgumentType] (pyarrow's inferred type)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a Parquet file ({' '.join(str(error).split())[:120]}); name an output of the stage 'faces'") from error
    if missing:
        raise DataError(f"{path}: no column {missing[0]}; name an output of the stage 'faces'")
    videos = table["video"].unique().to_pylist()
    if len(videos) != 1:
        raise DataError(f"{path}: holds the rows of {len(videos)} videos; name the output of one video")
    names = table["track"].unique().to_pylist()
    return {name: _track(rows_of_track(table, name), videos[0], name) for name in names}


def read_chips(path: Path, track: str, frames: Sequence[int]) -> dict[int, bytes]:
    """Return the JPEG chips of these frames by frame number; frames without a chip are left out: all where the chips were deleted."""
    if "chip" not in pq.read_schema(path).names:
        return {}
    wanted = [("track", "=", track), ("frame", "in", list(frames))]
    table = pq.read_table(path, columns=["frame", "chip"], filters=wanted, partitioning=None)  # pyright: ignore[reportArgumentType] (pyarrow's inferred type of a default)
    chips = zip(table["frame"].to_pylist(), table["chip"].to_pylist(), strict=True)
    return {frame: chip for frame, chip in chips if chip is not None}


def frame_times(tracks: Sequence[Track]) -> tuple[Int[np.ndarray, " frames"], Float[np.ndarray, " frames"]]:
    """Return number and time of every frame for which any of the tracks has a row, ascending."""
    frames = FrameTimes.of(np.concatenate([track.frame for track in tracks]), np.concatenate([track.time for track in tracks]))
    return frames.frame, frames.time


def find_gaps(track: Track) -> list[Gap]:
    """Return the runs of rows without a face, in order."""
    unseen = np.concatenate([[False], ~track.seen, [False]]).astype(np.int8)
    first, after = np.flatnonzero(np.diff(unseen) == 1), np.flatnonzero(np.diff(unseen) == -1)
    stop = frame_ends(track.time)
    return [
        Gap(int(track.frame[a]), int(track.frame[b - 1]), float(track.time[a]), float(stop[b - 1]))
        for a, b in zip(first.tolist(), after.tolist(), strict=True)
    ]


def evenly_spaced(count: int, max_count: int) -> Int[np.ndarray, " chosen"]:
    """Return at most ``max_count`` of ``count`` indices, evenly spaced from the first to the last."""
    return np.unique(np.round(np.linspace(0, count - 1, min(count, max_count))).astype(np.int64))


def bin_centers(count: int, max_count: int) -> Int[np.ndarray, " chosen"]:
    """Return at most ``max_count`` of ``count`` indices, evenly spaced, each the center of its bin."""
    max_count = min(count, max_count)
    return np.floor((np.arange(max_count) + 0.5) * count / max_count).astype(np.int64)


def _track(table: pa.Table, video: str, name: str) -> Track:
    return Track(
        video=video,
        name=name,
        frame=table["frame"].to_numpy(),
        time=table["time"].to_numpy(),
        state=index_array(table["source"], STATES[1:]) + 1,
        box=list_array(table["box"]).astype(np.float64),
        score=table["score"].to_numpy().astype(np.float64),
    )
