"""Rows and votes of one tracklet -> its summaries: one for each part that shows one person. Uses no pixels.

A summary is small, is passed from one worker to another (``chunk_result.py``), and is all that ``stitch.py`` and ``people.py`` know of a tracklet.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from abaw_ray.faces.identity.votes import Vote, mean_similarity
from abaw_ray.faces.tracking.segments import Segment


@dataclass(eq=False)
class TrackletSummary:
    """Summary of one tracklet, or of a part of one, kept in memory until the end of the video."""

    id: int
    first_frame: int = 0
    last_frame: int = 0
    rows: int = 0
    area_sum: float = 0.0
    """Box areas as shares of the frame's area, times the detector's score, summed over its rows: a face half outside of the frame counts less."""
    x_sum: float = 0.0
    """Horizontal box centers as shares of the frame's width from the left, summed over its rows."""
    votes: list[Vote] = field(default_factory=list)
    """Embeddings of good faces in order of time, at most ``VoteConfig.max_votes``."""
    start_boxes: list[list[float]] = field(default_factory=list)
    """Time and box where its segment overlaps the previous one: ``[time, x0, y0, x1, y1]``."""
    end_boxes: list[list[float]] = field(default_factory=list)
    """The same where its segment overlaps the next one."""
    track: str | None = None
    """The name of its person, where the user's own boxes give one."""
    buffer_id: int = 0
    """The id under which its rows are in the row buffer: that of the whole tracklet."""

    @property
    def center_x(self) -> float:
        """Mean horizontal center as a share of the frame's width from the left."""
        return self.x_sum / max(self.rows, 1)

    def coincides(self, other: "TrackletSummary") -> bool:
        """Return whether the frame ranges of both overlap."""
        return self.first_frame <= other.last_frame and other.first_frame <= self.last_frame

    def similarity(self, other: "TrackletSummary", min_votes: int = 1) -> float | None:
        """Return the mean cosine similarity of the votes of both; None where one of them has fewer than ``min_votes``."""
        if min(len(self.votes), len(other.votes)) < min_votes:
            return None
        return mean_similarity(self.votes, other.votes)


@dataclass(frozen=True)
class _Row:
    frame: int
    time: float
    area: float
    x: float


@dataclass(eq=False)
class TrackletLog:
    """Numbers of each row of one tracklet within one segment."""

    id: int
    track: str | None = None
    last_frame: int = 0
    score: float = 1.0
    """Score of its last detection, which also weighs the interpolated rows after it."""
    rows: list[_Row] = field(default_factory=list)
    start_boxes: list[list[float]] = field(default_factory=list)
    end_boxes: list[list[float]] = field(default_factory=list)

    def add_row(self, frame: int, time: float, area: float, x: float, score: float | None) -> None:
        """Add a row, frames ascending; ``score`` None where it is interpolated."""
        self.score = self.score if score is None else score
        self.rows.append(_Row(frame, time, area * self.score, x))
        self.last_frame = frame

    def add_overlap(self, time: float, box: Float[np.ndarray, "4"], segment: Segment) -> None:
        """Keep the box if a neighboring segment covers the same time."""
        for boundary, boxes in ((segment.start, self.start_boxes), (segment.stop, self.end_boxes)):
            if segment.config.near_boundary(boundary, time):
                boxes.append([time, *box.tolist()])

    def divide(self, votes: list[Vote], changes: list[float]) -> list[TrackletSummary]:
        """Return the summary of each part that has rows, in order of time; ids are those of the tracklet.

        Args:
            votes: All its votes.
            changes: Times at which another person begins, ascending.
        """
        parts = []
        for start, stop in pairwise([-np.inf, *changes, np.inf]):
            rows = [row for row in self.rows if start <= row.time < stop]
            if not rows:
                continue
            parts.append(
                TrackletSummary(
                    id=self.id,
                    first_frame=rows[0].frame,
                    last_frame=rows[-1].frame,
                    rows=len(rows),
                    area_sum=sum(row.area for row in rows),
                    x_sum=sum(row.x for row in rows),
                    votes=[vote for vote in votes if start <= vote.time < stop],
                    start_boxes=[box for box in self.start_boxes if start <= box[0] < stop],
                    end_boxes=[box for box in self.end_boxes if start <= box[0] < stop],
                    track=self.track,
                    buffer_id=self.id,
                )
            )
        return parts
