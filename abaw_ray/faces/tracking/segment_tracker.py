"""The frames of one segment -> rows of tracklets in the row buffer: faces detected on a schedule, tracked, and cropped.

``cuts`` detects shots, ``frame_detector`` faces, and ``tracker`` matches them. This module selects the frames on which the detector runs, and
interpolates the boxes in between. It does not depend on other segments.
"""

import math
from collections import deque
from dataclasses import replace
from itertools import pairwise

import numpy as np

from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.box_table import GivenBoxes
from abaw_ray.faces.detection.cuts import CutDetector
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.detection.frame_detector import FrameDetector
from abaw_ray.faces.face_row import face_row
from abaw_ray.faces.identity.embedder import FaceEmbedder
from abaw_ray.faces.identity.vote_collector import VoteCollector
from abaw_ray.faces.identity.votes import runs, select
from abaw_ray.faces.tracking.backtrack import Backtracker, interpolate
from abaw_ray.faces.tracking.row_buffer import RowBuffer
from abaw_ray.faces.tracking.segments import Segment
from abaw_ray.faces.tracking.summary import TrackletLog, TrackletSummary
from abaw_ray.faces.tracking.tracker import Observation, Tracker, Tracklet
from abaw_ray.media.frame import Frame

_MB = 2**20
"""Bytes of a mebibyte."""
_MAX_TRACKLETS = 1_000_000
"""Maximum number of tracklets of one segment: a tracklet's id is the index of its segment times this, plus its number."""


class SegmentTracker:
    """One pass over one segment."""

    def __init__(
        self,
        config: FacesConfig,
        frame_detector: FrameDetector | GivenBoxes,
        segment: Segment,
        buffer: RowBuffer,
        embedder: FaceEmbedder | None = None,
    ) -> None:
        self.config, self.frame_detector, self.segment, self.buffer = config, frame_detector, segment, buffer
        tracks, min_score = config.tracks, config.detector.min_score
        if frame_detector.trusted:
            tracks, min_score = replace(tracks, min_hits=1, max_people=_MAX_TRACKLETS), -math.inf
        self.tracker = Tracker(tracks, min_score, segment.index * _MAX_TRACKLETS)
        self.cuts = CutDetector(config.cuts)
        self._idle_bytes = config.buffer_mb * _MB / 2  # limit for buffered frames that are kept only to track new people back
        self.logs: dict[int, TrackletLog] = {}
        self.shot_starts: list[int] = []
        """Numbers of the frames of this segment with which a shot starts."""
        self.recent: deque[Frame] = deque()
        """Buffered frames, consecutive and ascending."""
        self.newest: Frame | None = None
        """The last frame that was processed, buffered or not."""
        self.backtracker = Backtracker(self.tracker, frame_detector, self.recent) if isinstance(frame_detector, FrameDetector) else None
        self.votes = VoteCollector(config.people.votes, config.tracks, embedder, self.recent) if embedder else None
        self.last_search: float | None = None
        self.last_follow: float | None = None
        """Times of the last detection on a whole frame, and of the last detection at all, in this shot."""
        self.size: tuple[int, int] | None = None
        self.frame_bytes = 0

    def process(self, frame: Frame) -> None:
        """Process the next frame."""
        size, self.size = self.size, (frame.width, frame.height)
        if self.cuts.starts_shot(frame.coarse_luma) or size != self.size:  # boxes of another frame size are not comparable
            self._end_shot()
            if self.segment.owns(frame.time):
                self.shot_starts.append(frame.number)
            self.frame_bytes = sum(plane.buffer_size for plane in frame.av_frame.planes)
        self.recent.append(frame)
        self.newest = frame
        if self._must_search(frame):
            self.last_search = self.last_follow = frame.time
            self._update(frame, self.frame_detector.search_and_follow(frame, self._active_boxes()), searched=True)
        elif self.frame_detector.must_detect(frame) or self._must_follow(frame):
            self.last_follow = frame.time
            self._update(frame, self.frame_detector.follow(frame, self._active_boxes()))
        while self.tracker.active and self._buffer_exceeds(1.0):
            self.tracker.drop_oldest()
        self._drop_frames()

    def _must_search(self, frame: Frame) -> bool:
        """Return whether to search: at the configured interval, or earlier if frames since the last search would exceed the buffer."""
        tracks = self.config.tracks
        relaxed = self.tracker.all_found and len(self.recent) * self.frame_bytes <= self._idle_bytes
        return _due(frame.time, self.last_search, tracks.search_interval_s if relaxed else tracks.lost_search_interval_s)

    def _must_follow(self, frame: Frame) -> bool:
        """Return whether to follow: at the configured interval, or earlier if frames without boxes fill half of the buffer."""
        tracks = self.config.tracks
        interval = tracks.static_interval_s if self.tracker.all_static else tracks.follow_interval_s
        return bool(self.tracker.active) and (self._buffer_exceeds(0.5) or _due(frame.time, self.last_follow, interval))

    def finish(self) -> list[TrackletSummary]:
        """End the segment; returns the summaries of accepted tracklets that have rows here, by id."""
        self._end_shot()
        return [part for number, log in sorted(self.logs.items()) if number not in self.tracker.rejected for part in self._parts(log)]

    def _parts(self, log: TrackletLog) -> list[TrackletSummary]:
        """Return the summary of a tracklet, or of each of its parts where its votes show that the person changes."""
        if self.votes is None or not (found := self.votes.tracklets[log.id]).votes:
            return log.divide([], [])
        changes = [found.changes[index - 1] for index in runs(found.votes, self.votes.embedder.thresholds.different)]
        parts = log.divide(found.votes, changes)
        for part in parts:
            part.votes = select(part.votes, self.config.people.votes.max_votes)
        for part in parts[1:]:
            self.tracker.last_id += 1
            part.id = self.tracker.last_id
        return parts

    def _end_shot(self) -> None:
        """Run the detector on the last frame of the shot (on the whole frame if the last search is long ago), then end all tracklets."""
        if self.recent and self.recent[-1].number != self.tracker.last_frame:
            last = self.recent[-1]
            assert self.last_search is not None  # the first frame of every shot is searched
            if last.time - self.last_search > self.config.tracks.search_interval_s / 2:
                self._update(last, self.frame_detector.search_and_follow(last, self._active_boxes()), searched=True)
            elif self.tracker.active:
                self._update(last, self.frame_detector.follow(last, self._active_boxes()))
        if self.votes is not None and self.newest is not None:
            for tracklet in self.tracker.active:
                if tracklet.last.frame == self.newest.number:
                    self.votes.observe(tracklet.id, self.newest, tracklet.last.face, ended=True)
        self.tracker.end_shot()
        self.buffer.flush()
        self.recent.clear()
        self.last_search = self.last_follow = None

    def _update(self, frame: Frame, faces: list[Face], *, searched: bool = False) -> None:
        before = self.tracker.last_frame
        votes = self.votes
        same_person = None if votes is None else lambda tracklet, face: votes.same_person(tracklet, frame, face)
        detected = self.tracker.update(frame.number, frame.time, faces, same_person)
        for tracklet in list(self.tracker.active) if self.backtracker else []:
            if tracklet.last.frame == before:  # matched in the last detection, but not in this one
                self._extend_forward(tracklet, frame)
                if new := self.tracker.continue_with_new(tracklet):
                    detected = [tracklet if one is new else one for one in detected]
        for tracklet in detected:
            self._write_observed(tracklet)
            if votes is not None:
                votes.observe(tracklet.id, frame, tracklet.last.face, searched=searched, started=tracklet.interpolate_from is None)

    def _extend_forward(self, tracklet: Tracklet, missing: Frame) -> None:
        assert self.backtracker is not None
        for observation in self.backtracker.extend_forward(tracklet, missing.number):
            before = tracklet.last
            tracklet.add(observation, interpolate=True, hit=False)
            self._write_path(tracklet.id, [before, observation])

    def _write_observed(self, tracklet: Tracklet) -> None:
        """Write the rows up to this detection: from the previous one on, or as far back as a new tracklet can be tracked."""
        if tracklet.interpolate_from is not None:
            between = self.backtracker.midpoint(tracklet) if self.backtracker else []
            self._write_path(tracklet.id, [tracklet.interpolate_from, *between, tracklet.last])
            return
        last_row = self.logs[tracklet.id].last_frame if tracklet.id in self.logs else 0
        path = [*(self.backtracker.extend_back(tracklet, last_row) if self.backtracker else []), tracklet.last]
        if tracklet.previous is not None and self._is_short_gap(tracklet.previous, path[0]):
            path.insert(0, tracklet.previous)
        else:
            self._write(tracklet.id, path[0].frame, path[0].face)
        self._write_path(tracklet.id, path)

    def _is_short_gap(self, before: Observation, after: Observation) -> bool:
        """Return whether a gap that was too long between scheduled detections is short enough after backtracking."""
        return after.time - before.time <= self.config.tracks.max_gap_s and self.recent[0].number <= before.frame + 1

    def _write_path(self, tracklet: int, path: list[Observation]) -> None:
        """Write the rows after the first observation up to the last; boxes and landmarks in between are interpolated linearly."""
        for a, b in pairwise(path):
            for number in range(a.frame + 1, b.frame):
                self._write(tracklet, number, interpolate(a, b, self._frame(number).time))
            self._write(tracklet, b.frame, b.face)

    def _frame(self, number: int) -> Frame:
        return self.recent[number - self.recent[0].number]

    def _write(self, tracklet: int, number: int, face: Face) -> None:
        frame = self._frame(number)
        log = self.logs.setdefault(tracklet, TrackletLog(tracklet, face.track))
        log.add_overlap(frame.time, face.box, self.segment)
        if self.votes is not None:
            self.votes.add_row(tracklet, frame, face)
        if not self.segment.owns(frame.time):
            return
        row = face_row(frame, face, self.config.chips)
        x0, y0, x1, y1 = row["box"]
        area = max(x1 - x0, 0.0) * max(y1 - y0, 0.0) / (frame.width * frame.height)
        log.add_row(frame.number, frame.time, area, (x0 + x1) / 2 / frame.width, face.score)
        self.buffer.add(tracklet, row)

    def _active_boxes(self) -> list[np.ndarray]:
        return [tracklet.last.face.box for tracklet in self.tracker.active]

    def _pending(self) -> int:
        """Return the number of frames in which a tracked person has no box yet."""
        complete = min((tracklet.last.frame for tracklet in self.tracker.active), default=None)
        return 0 if complete is None or not self.recent else self.recent[-1].number - complete

    def _drop_frames(self) -> None:
        """Drop frames that are not pending and either older than the last search or beyond the buffer's size."""
        pending, searched = self._pending(), self.last_search if self.last_search is not None else math.inf
        while len(self.recent) > pending and (self.recent[0].time <= searched or len(self.recent) * self.frame_bytes > self._idle_bytes):
            self.recent.popleft()

    def _buffer_exceeds(self, fraction: float) -> bool:
        return self._pending() * self.frame_bytes > fraction * self.config.buffer_mb * _MB


def segment_of(tracklet: int) -> int:
    """Return the index of the segment to which a tracklet's id belongs."""
    return tracklet // _MAX_TRACKLETS


def _due(time: float, last: float | None, interval: float) -> bool:
    """Return whether a multiple of ``interval`` lies between ``last`` and ``time``: the schedule depends on the clock, not on the start."""
    return last is None or math.floor(time / interval) > math.floor(last / interval)
