"""The frames of one stretch -> rows of tracklets in the spool: looks on a schedule of seconds, people followed, chips cut.

``cuts`` says where shots end, ``observe`` what is seen, ``tracks`` who is who; here it is decided when one looks, and boxes between two looks
are interpolated. Nothing of another stretch is known here.
"""

import math
from collections import deque
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np

from abaw_ray.faces.boxes import within
from abaw_ray.faces.chips import cut_chip, square, to_jpeg
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.box_table import GivenBoxes
from abaw_ray.faces.detection.cuts import Cuts
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.detection.observe import Observer
from abaw_ray.faces.tracking.backtrack import Retrace, middle
from abaw_ray.faces.tracking.people import Summary
from abaw_ray.faces.tracking.segments import Stretch
from abaw_ray.faces.tracking.spool import Spool
from abaw_ray.faces.tracking.tracks import Sight, Tracker, Tracklet
from abaw_ray.media.frame import Frame

_MB = 2**20
"""Bytes."""
_IDS = 1_000_000
"""Tracklets of one stretch at most: their ids tell the stretch."""
_AROUND, _FINE = 2.0, 32
"""The square of which colours are counted: the face and as much around it, in units of its side; and in how many pixels a side."""


class Watch:
    """One pass over one stretch."""

    def __init__(self, config: FacesConfig, observer: Observer | GivenBoxes, stretch: Stretch, spool: Spool) -> None:
        self.config, self.observer, self.stretch, self.spool = config, observer, stretch, spool
        tracks, least = config.tracks, config.detector.min_score
        if observer.trusted:
            tracks, least = replace(tracks, min_hits=1, max_people=_IDS), -math.inf
        self.tracker = Tracker(tracks, least, stretch.number * _IDS)
        self.cuts = Cuts(config.cuts)
        self._room = config.buffer_mb * _MB / 2  # for pictures that wait for nobody but newcomers
        self.summaries: dict[int, Summary] = {}
        self.recent: deque[Frame] = deque()
        self.retrace = None if observer.trusted else Retrace(self.tracker, observer, self.recent)
        self.searched = self.followed = None
        self.size: tuple[int, int] | None = None
        self.bytes = 0  # of one picture in memory

    def take(self, frame: Frame) -> None:
        """Watch the next frame."""
        size, self.size = self.size, (frame.width, frame.height)
        if self.cuts.first_of_shot(frame.coarse_luma) or size != self.size:  # boxes of another picture size mean nothing here
            self._end_shot()
            self.bytes = sum(plane.buffer_size for plane in frame.av_frame.planes)
        self.recent.append(frame)
        if self._must_search(frame):
            self.searched = self.followed = frame.time
            self._note(frame, self.observer.everywhere(frame, self._known()), searched=True)
        elif self.observer.has_news(frame) or self._must_follow(frame):
            self.followed = frame.time
            self._note(frame, self.observer.look(frame, self._known()))
        while self.tracker.active and self._crowded(1.0):
            self.tracker.rest_oldest()
        self._let_go()

    def _must_search(self, frame: Frame) -> bool:
        """On the schedule; and before pictures have to go of which none was searched since."""
        tracks = self.config.tracks
        calm = self.tracker.all_found and len(self.recent) * self.bytes <= self._room
        return _due(frame.time, self.searched, tracks.search_every if calm else tracks.seek_every)

    def _must_follow(self, frame: Frame) -> bool:
        """On the schedule; and before pictures that wait for it take half the room there is."""
        tracks = self.config.tracks
        every = tracks.calm_every if self.tracker.all_still else tracks.follow_every
        return bool(self.tracker.active) and (self._crowded(0.5) or _due(frame.time, self.followed, every))

    def end(self) -> list[Summary]:
        """Part with everybody; returns what was seen of those who are believed and have rows here, by id."""
        self._end_shot()
        rejected = self.tracker.rejected()
        return [summary for number, summary in sorted(self.summaries.items()) if number not in rejected and summary.rows]

    def _end_shot(self) -> None:
        """Look at the shot's last picture, at all of it if the last search is some time ago; then part with everybody."""
        if self.recent and self.recent[-1].number != self.tracker.looked:
            last = self.recent[-1]
            if last.time - self.searched > self.config.tracks.search_every / 2:
                self._note(last, self.observer.everywhere(last, self._known()), searched=True)
            elif self.tracker.active:
                self._note(last, self.observer.look(last, self._known()))
        self.tracker.cut()
        self.spool.flush()
        self.recent.clear()
        self.searched = self.followed = None

    def _note(self, frame: Frame, faces: list[Face], *, searched: bool = False) -> None:
        before = self.tracker.looked
        seen = self.tracker.update(frame.number, frame.time, faces)
        for tracklet in self.tracker.active if self.retrace else []:
            if tracklet.last.frame == before:  # found in the last look, but not in this one
                self._last_sights(tracklet, frame)
        for tracklet in seen:
            self._fill(tracklet)
            summary = self.summaries[tracklet.id]
            if searched or not summary.colours.any():
                summary.colours = summary.colours + _colours(frame, tracklet.last.face.box)

    def _last_sights(self, tracklet: Tracklet, missing: Frame) -> None:
        for sight in self.retrace.after(tracklet, missing.number):
            tracklet.see(sight, bridge=True, hit=False)
            self._bridge(tracklet.id, [tracklet.bridge, sight])

    def _fill(self, tracklet: Tracklet) -> None:
        """Rows for the frames up to this look: since the one before, or as far back as a newcomer can be followed."""
        if tracklet.bridge is not None:
            between = self.retrace.halfway(tracklet) if self.retrace else []
            self._bridge(tracklet.id, [tracklet.bridge, *between, tracklet.last])
            return
        known = self.summaries[tracklet.id].last if tracklet.id in self.summaries else 0
        path = [*(self.retrace.before(tracklet, known) if self.retrace else []), tracklet.last]
        if self._was_short(tracklet.before, path[0]):
            path.insert(0, tracklet.before)
        else:
            self._write(tracklet.id, path[0].frame, path[0].face)
        self._bridge(tracklet.id, path)

    def _was_short(self, before: Sight | None, again: Sight) -> bool:
        """Whether a gap that was too long from look to look is short after all, now that the pictures in between were looked at."""
        return before is not None and again.time - before.time <= self.config.tracks.max_gap and self.recent[0].number <= before.frame + 1

    def _bridge(self, tracklet: int, path: list[Sight]) -> None:
        """Rows for the frames after the first sight up to the last; between two, box and landmarks are on the straight line."""
        for a, b in pairwise(path):
            for number in range(a.frame + 1, b.frame):
                self._write(tracklet, number, middle(a, b, self._frame(number).time))
            self._write(tracklet, b.frame, b.face)

    def _frame(self, number: int) -> Frame:
        return self.recent[number - self.recent[0].number]

    def _write(self, tracklet: int, number: int, face: Face) -> None:
        frame = self._frame(number)
        summary = self.summaries.setdefault(tracklet, Summary(tracklet, track=face.track))
        summary.see_at_seam(frame.time, face.box, self.stretch)
        if not self.stretch.owns(frame.time):
            return
        box = face.box.astype(np.float32).astype(np.float64)  # as the table keeps it: who cuts again has no other
        x0, y0, x1, y1 = box.tolist()
        summary.see(frame.number, max(x1 - x0, 0.0) * max(y1 - y0, 0.0) / (frame.width * frame.height), (x0 + x1) / 2 / frame.width)
        chip = cut_chip(frame, box, self.config.chips) if self.config.chips.keep == "jpeg" else None
        row = {
            "frame": frame.number,
            "time": frame.time,
            "seen": True,
            "source": face.source,
            "box": [x0, y0, x1, y1],
            "score": face.score,
            "landmarks": None if face.landmarks is None else face.landmarks.ravel().tolist(),
            "chip": None if chip is None else to_jpeg(chip.image, self.config.chips.quality),
            "chip_scale": None if chip is None else chip.scale,
            "inside": None if chip is None else chip.inside,
        }
        self.spool.add(tracklet, row)

    def _known(self) -> list[np.ndarray]:
        return [tracklet.last.face.box for tracklet in self.tracker.active]

    def _waiting(self) -> int:
        """Pictures in which somebody who is followed has no box yet."""
        done = min((tracklet.last.frame for tracklet in self.tracker.active), default=None)
        return 0 if done is None or not self.recent else self.recent[-1].number - done

    def _let_go(self) -> None:
        """Part with pictures that nobody waits for and that are older than the last search, or more than there is room for."""
        waiting, searched = self._waiting(), self.searched if self.searched is not None else math.inf
        while len(self.recent) > waiting and (self.recent[0].time <= searched or len(self.recent) * self.bytes > self._room):
            self.recent.popleft()

    def _crowded(self, share: float) -> bool:
        return self._waiting() * self.bytes > share * self.config.buffer_mb * _MB


def stretch_of(tracklet: int) -> int:
    """Number of the stretch that a tracklet's id belongs to."""
    return tracklet // _IDS


def _due(time: float, last: float | None, every: float) -> bool:
    """Whether a multiple of ``every`` lies between the last look and now: a schedule of the clock's, the same wherever one begins."""
    return last is None or math.floor(time / every) > math.floor(last / every)


def _colours(frame: Frame, box: np.ndarray) -> np.ndarray:
    """Histogram of a face and its surroundings in 6 x 6 x 6 colours; says something about hair, clothes and room too."""
    left, top, side = square(box, _AROUND)
    x0, y0, x1, y1 = within(left, top, side, frame.width, frame.height)
    if x1 <= x0 or y1 <= y0:
        return np.zeros(6**3)
    part = frame.crop(x0, y0, x1 - x0, y1 - y0, (_FINE, _FINE))
    return cv2.calcHist([part], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel().astype(np.float64)
