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

from abaw_ray.faces.boxes import area, between, centre
from abaw_ray.faces.chips import ChipConfig, cut_chip, to_jpeg
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.cuts import Cuts
from abaw_ray.faces.detect import Face
from abaw_ray.faces.given import GivenBoxes
from abaw_ray.faces.observe import Observer
from abaw_ray.faces.people import Summary
from abaw_ray.faces.spool import Spool
from abaw_ray.faces.stretches import Stretch
from abaw_ray.faces.tracks import Sight, Tracker, Tracklet
from abaw_ray.media.frame import Frame

_MB = 2**20
"""Bytes."""
_IDS = 1_000_000
"""Tracklets of one stretch at most: their ids tell the stretch."""
_COLOURS = ChipConfig(scales=(2.0,), size=32)
"""The crop of which colours are counted: the face and as much around it."""


class Watch:
    """One pass over one stretch."""

    def __init__(self, config: FacesConfig, observer: Observer | GivenBoxes, stretch: Stretch, spool: Spool) -> None:
        self.config, self.observer, self.stretch, self.spool = config, observer, stretch, spool
        tracks, least = config.tracks, config.detector.min_score
        if observer.trusted:
            tracks, least = replace(tracks, min_hits=1, max_people=_IDS), -math.inf
        self.tracker = Tracker(tracks, least, stretch.number * _IDS)
        self.cuts = Cuts(config.cuts)
        self.summaries: dict[int, Summary] = {}
        self.recent: deque[Frame] = deque()
        self.searched = self.followed = None
        self.size: tuple[int, int] | None = None

    def take(self, frame: Frame) -> None:
        """Watch the next frame."""
        size, self.size = self.size, (frame.width, frame.height)
        if self.cuts.first_of_shot(frame.coarse_luma) or size != self.size:  # boxes of another picture size mean nothing here
            self._end_shot()
        self.recent.append(frame)
        tracks = self.config.tracks
        every = tracks.search_every if self.tracker.active else tracks.seek_every
        if _due(frame.time, self.searched, every):
            self.searched = self.followed = frame.time
            self._note(frame, self.observer.everywhere(frame, self._known()))
        elif self.observer.has_news(frame) or (self.tracker.active and (self._crowded(0.5) or _due(frame.time, self.followed, tracks.follow_every))):
            self.followed = frame.time
            self._note(frame, self.observer.look(frame, self._known()))
        while self.tracker.active and self._crowded(1.0):
            self.tracker.rest_oldest()
        self._let_go()

    def end(self) -> list[Summary]:
        """Part with everybody; returns what was seen of those who are believed and have rows here, by id."""
        self._end_shot()
        rejected = self.tracker.rejected()
        return [summary for number, summary in sorted(self.summaries.items()) if number not in rejected and summary.rows]

    def _end_shot(self) -> None:
        """Look at the shot's last picture, then part with everybody."""
        if self.tracker.active and self._waiting():
            self._note(self.recent[-1], self.observer.look(self.recent[-1], self._known()))
        self.tracker.cut()
        self.spool.flush()
        self.recent.clear()
        self.searched = self.followed = None

    def _note(self, frame: Frame, faces: list[Face]) -> None:
        for tracklet in self.tracker.update(frame.number, frame.time, faces):
            if tracklet.bridge is not None:
                self._bridge(tracklet.id, tracklet.bridge, tracklet.last)
            elif not self.observer.trusted:
                self._look_back(tracklet)
            self._write(tracklet.id, frame, tracklet.last.face)
            summary = self.summaries[tracklet.id]
            summary.colours = summary.colours + _colours(frame, tracklet.last.face.box)

    def _bridge(self, tracklet: int, a: Sight, b: Sight) -> None:
        """Rows for the frames between two looks, box and landmarks on the straight line between them."""
        for frame in self.recent:
            if a.frame < frame.number < b.frame:
                self._write(tracklet, frame, _middle(a, b, frame.time))

    def _look_back(self, tracklet: Tracklet) -> None:
        """Rows for the frames in which a newcomer was there before the search that found her: as far back as she can be followed."""
        summary, pictures = self.summaries.get(tracklet.id), {frame.number: frame for frame in self.recent}
        sights = self._seen_before(tracklet, summary.last if summary else 0, pictures)
        for sight, after in pairwise([*sights, tracklet.last]):
            self._write(tracklet.id, pictures[sight.frame], sight.face)
            self._bridge(tracklet.id, sight, after)

    def _seen_before(self, tracklet: Tracklet, known: int, pictures: dict[int, Frame]) -> list[Sight]:
        """Earlier sights of a tracklet, ascending: as often as one follows, and halving the rest where she is not found any more.

        ``known``: number of the frame up to which she has her rows.
        """
        first, missing, sights = tracklet.last, known, []
        stride = self.config.tracks.follow_every
        while earlier := [frame for frame in self.recent if missing < frame.number < first.frame]:
            far = next((frame for frame in reversed(earlier) if first.time - frame.time >= stride), earlier[0])
            frame = far if missing == known else earlier[len(earlier) // 2]
            face = self.tracker.same(tracklet, first, self.observer.look(frame, [first.face.box]))
            if face is None:
                missing = frame.number
            else:
                first = Sight(frame.number, frame.time, face)
                sights.insert(0, first)
        return sights

    def _write(self, tracklet: int, frame: Frame, face: Face) -> None:
        summary = self.summaries.setdefault(tracklet, Summary(tracklet, track=face.track))
        summary.see_at_seam(frame.time, face.box, self.stretch)
        if not self.stretch.owns(frame.time):
            return
        summary.see(frame.number, float(area(face.box)) / (frame.width * frame.height), float(centre(face.box)[0]) / frame.width)
        chip = cut_chip(frame, face.box, self.config.chips) if self.config.chips.keep == "jpeg" else None
        row = {
            "frame": frame.number,
            "time": frame.time,
            "seen": True,
            "source": face.source,
            "box": face.box.tolist(),
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
        room = self.config.buffer_mb * _MB / 2
        while len(self.recent) > waiting and (self.recent[0].time <= searched or len(self.recent) * self._bytes() > room):
            self.recent.popleft()

    def _crowded(self, share: float) -> bool:
        return self._waiting() * self._bytes() > share * self.config.buffer_mb * _MB

    def _bytes(self) -> int:
        """Of one picture in memory."""
        return sum(plane.buffer_size for plane in self.recent[-1].picture.planes) if self.recent else 0


def stretch_of(tracklet: int) -> int:
    """Number of the stretch that a tracklet's id belongs to."""
    return tracklet // _IDS


def _due(time: float, last: float | None, every: float) -> bool:
    """Whether a multiple of ``every`` lies between the last look and now: a schedule of the clock's, the same wherever one begins."""
    return last is None or math.floor(time / every) > math.floor(last / every)


def _middle(a: Sight, b: Sight, time: float) -> Face:
    share = (time - a.time) / (b.time - a.time)
    both = a.face.landmarks is not None and b.face.landmarks is not None
    landmarks = between(a.face.landmarks, b.face.landmarks, share) if both else None
    return Face(between(a.face.box, b.face.box, share), None, landmarks, "interpolated", a.face.track)


def _colours(frame: Frame, box: np.ndarray) -> np.ndarray:
    """Histogram of a face and its surroundings in 6 x 6 x 6 colours; says something about hair, clothes and room too."""
    chip = cut_chip(frame, box, _COLOURS).image
    return cv2.calcHist([chip], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel().astype(np.float64)
