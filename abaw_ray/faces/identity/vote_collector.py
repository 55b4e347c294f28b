"""Detected faces of one segment -> votes of its tracklets, and the times at which a tracklet may change from one person to another.

Faces are embedded at searches of the whole frame, at the start of a tracklet, where it is resumed, and at the end of its shot; and a few more from
the buffer where a vote differs from those before. Between two votes the rows are compared with both, so that a tracklet is divided at the right one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.faces.config import TrackConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.identity.config import VoteConfig
from abaw_ray.faces.identity.embedder import FaceEmbedder
from abaw_ray.faces.identity.quality import face_region, is_frontal, measure
from abaw_ray.faces.identity.votes import Vote, mean_similarity
from abaw_ray.media.frame import Frame
from abaw_ray.media.square_crop import clip_square, square_around

_START_VOTES = 2
"""Votes after the start of a tracklet or its resumption, from successive detections."""
_EXTRA_VOTES = 4
"""Further votes from buffered detections where a vote differs from those before."""
_COMPARED = 4
"""A new vote is compared with this many before it."""
_THUMBNAIL_SCALE, _THUMBNAIL_PIXELS = 1.2, 16
"""The compared square: its side in units of the face's longer side, and the pixels to which that side is shrunk."""


@dataclass(eq=False)
class TrackletVotes:
    """The votes of one tracklet."""

    votes: list[Vote] = field(default_factory=list)
    """In order of time."""
    changes: list[float] = field(default_factory=list)
    """For each vote but the first, the time of the first frame that shows its person, if that is not the person of the vote before."""
    thumbnails: list[tuple[int, float, UInt8[np.ndarray, "16 16 3"]]] = field(default_factory=list)
    """Frame number, time and face of each row since the last vote, which is the first of them."""
    detections: deque[tuple[int, Face]] = field(default_factory=lambda: deque(maxlen=32))
    """Frame number and face of detections since the last vote."""
    start_votes: int = _START_VOTES
    """Votes still wanted from successive detections."""
    start_time: float = 0.0
    """Seconds at which the tracklet started or was resumed."""


class VoteCollector:
    """Collects the votes of all tracklets of one segment."""

    def __init__(self, config: VoteConfig, tracks: TrackConfig, embedder: FaceEmbedder, recent: Sequence[Frame]) -> None:
        """``recent``: the buffered frames, ascending; the caller adds and removes them."""
        self.config, self.tracks, self.embedder, self.recent = config, tracks, embedder, recent
        self.tracklets: dict[int, TrackletVotes] = {}
        self._cached: tuple[Face, Vote | None] | None = None

    def add_row(self, tracklet: int, frame: Frame, face: Face) -> None:
        """Keep a thumbnail of a row after the first vote, frames ascending."""
        state = self.tracklets.setdefault(tracklet, TrackletVotes())
        if state.votes:
            state.thumbnails.append((frame.number, frame.time, _thumbnail(frame, face.box)))

    def observe(self, tracklet: int, frame: Frame, face: Face, *, searched: bool = False, started: bool = False, ended: bool = False) -> None:
        """Take a vote from a detected face if one is due, after the rows up to it were added.

        Args:
            tracklet: Its id.
            frame: The frame of the detection.
            face: The face.
            searched: Whether the whole frame was searched.
            started: Whether the tracklet starts here, or is resumed.
            ended: Whether this is the last frame of the shot.
        """
        state = self.tracklets.setdefault(tracklet, TrackletVotes())
        state.detections.append((frame.number, face))
        if started:
            state.start_votes, state.start_time = _START_VOTES, frame.time
        interval = self.tracks.search_interval_s
        age = frame.time - state.votes[-1].time if state.votes else np.inf
        starting = state.start_votes > 0 and frame.time - state.start_time <= interval and age > 0
        # searches for lost people are more frequent
        due = starting or (searched and age >= 0.75 * interval) or (ended and age >= self.tracks.follow_interval_s)
        vote = self._vote(frame, face) if due else None
        if vote is None:
            return
        state.start_votes = max(state.start_votes - 1, 0)
        extra = [] if self._agrees(state, vote) else self._extra_votes(state, frame)
        if not state.votes:
            state.thumbnails = [(frame.number, frame.time, _thumbnail(frame, face.box))]
        for one in [*extra, vote]:
            _add(state, one)
        state.detections.clear()

    def same_person(self, tracklet: int, frame: Frame, face: Face) -> bool | None:
        """Return whether a face is the person of a lost tracklet; None where one of them has no vote."""
        state = self.tracklets.get(tracklet)
        vote = self._vote(frame, face) if state and state.votes and face.landmarks is not None else None
        return None if state is None or vote is None else self._agrees(state, vote)

    def _agrees(self, state: TrackletVotes, vote: Vote) -> bool:
        """Return whether a vote shows the person of the votes before it; a first vote does."""
        return not state.votes or mean_similarity(state.votes[-_COMPARED:], [vote]) >= self.embedder.thresholds.same

    def _extra_votes(self, state: TrackletVotes, frame: Frame) -> list[Vote]:
        """Return votes of detections since the last vote whose frames are still buffered, evenly spaced."""
        found = [(number, face) for number, face in state.detections if self.recent and self.recent[0].number <= number < frame.number]
        spaced = found[:: max(len(found) // _EXTRA_VOTES, 1)][:_EXTRA_VOTES]
        votes = [self._vote(self.recent[number - self.recent[0].number], face) for number, face in spaced]
        return [vote for vote in votes if vote is not None and vote.time > state.votes[-1].time]

    def _vote(self, frame: Frame, face: Face) -> Vote | None:
        """Return the vote of a face; None where it is not good enough."""
        if self._cached is None or self._cached[0] is not face:
            self._cached = (face, self._embed(frame, face))
        return self._cached[1]

    def _embed(self, frame: Frame, face: Face) -> Vote | None:
        if face.landmarks is None or face.score is None or face.score < self.config.min_score or not is_frontal(face.landmarks, self.config):
            return None
        region = face_region(frame, face.landmarks)
        if region is None:
            return None
        rgb, landmarks, zoom = region
        quality = measure(rgb, landmarks, zoom)
        return Vote(frame.time, quality.value, self.embedder(rgb, landmarks)) if quality.accepted(self.config) else None


def _add(state: TrackletVotes, vote: Vote) -> None:
    """Add a vote, and drop the thumbnails before it."""
    until = [row for row in state.thumbnails if row[1] <= vote.time]
    if state.votes:
        state.changes.append(change_time(until))
    state.votes.append(vote)
    state.thumbnails = state.thumbnails[len(until) - 1 :]


def change_time(rows: list[tuple[int, float, UInt8[np.ndarray, "16 16 3"]]]) -> float:
    """Return the time from which on a face shows the person of the last row, if the first row shows another one.

    After the longest gap where there is one. Else the division with the least sum of differences: of the rows before it from the first, and of the
    others from the last. So a cut is found exactly, and a dissolve in its middle.

    Args:
        rows: Frame number, time and thumbnail of at least two rows, in order of time.
    """
    steps = np.diff([number for number, _, _ in rows])
    if steps.max() > 1:
        return rows[int(steps.argmax()) + 1][1]
    pixels = np.stack([thumbnail for _, _, thumbnail in rows]).reshape(len(rows), -1).astype(np.float32)
    from_first, from_last = (np.abs(pixels - pixels[end]).mean(axis=1) for end in (0, -1))
    cost = [from_first[:index].sum() + from_last[index:].sum() for index in range(1, len(rows))]
    return rows[int(np.argmin(cost)) + 1][1]


def _thumbnail(frame: Frame, box: Float[np.ndarray, "4"]) -> UInt8[np.ndarray, "16 16 3"]:
    left, top, side = square_around(box, _THUMBNAIL_SCALE)
    x0, y0, x1, y1 = clip_square(left, top, side, frame.width, frame.height)
    size = (_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS)
    return frame.crop(x0, y0, x1 - x0, y1 - y0, size) if x1 > x0 and y1 > y0 else np.zeros((*size, 3), np.uint8)
