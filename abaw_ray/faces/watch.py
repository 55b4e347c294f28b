"""The frames of one stretch -> rows of tracklets in the spool: looks on a schedule of seconds, people followed, chips cut.

``cuts`` says where shots end, ``observe`` what is seen, ``tracks`` who is who; here it is decided when one looks, and boxes between two looks
are interpolated. Nothing of another stretch is known here.
"""

import math
from collections import deque
from dataclasses import replace

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
        self.waiting: deque[Frame] = deque()
        self.searched = self.followed = None
        self.size: tuple[int, int] | None = None

    def take(self, frame: Frame) -> None:
        """Watch the next frame."""
        size, self.size = self.size, (frame.width, frame.height)
        if self.cuts.first_of_shot(frame.coarse_luma) or size != self.size:  # boxes of another picture size mean nothing here
            self._end_shot()
        self.waiting.append(frame)
        tracks, crowded = self.config.tracks, self._crowded(0.5)
        every = tracks.search_every if self.tracker.active else tracks.seek_every
        if _due(frame.time, self.searched, every):
            self.searched = self.followed = frame.time
            self._note(frame, self.observer.everywhere(frame, self._known()))
        elif self.observer.has_news(frame) or (self.tracker.active and (crowded or _due(frame.time, self.followed, tracks.follow_every))):
            self.followed = frame.time
            self._note(frame, self.observer.look(frame, self._known()))
        while self.tracker.active and self._crowded(1.0):
            self.tracker.rest_oldest()
            self._drop_done()
        if not self.tracker.active:
            self.waiting.clear()

    def end(self) -> list[Summary]:
        """Part with everybody; returns what was seen of those who are believed and have rows here, by id."""
        self._end_shot()
        rejected = self.tracker.rejected()
        return [summary for number, summary in sorted(self.summaries.items()) if number not in rejected and summary.rows]

    def _end_shot(self) -> None:
        """Look at the shot's last picture, then part with everybody."""
        if self.tracker.active and self.waiting:
            self._note(self.waiting[-1], self.observer.look(self.waiting[-1], self._known()))
        self.tracker.cut()
        self.spool.flush()
        self.waiting.clear()
        self.searched = self.followed = None

    def _note(self, frame: Frame, faces: list[Face]) -> None:
        for tracklet in self.tracker.update(frame.number, frame.time, faces):
            if tracklet.bridge is not None:
                self._bridge(tracklet)
            self._write(tracklet.id, frame, tracklet.last.face)
            summary = self.summaries[tracklet.id]
            summary.colours = summary.colours + _colours(frame, tracklet.last.face.box)
        self._drop_done()

    def _bridge(self, tracklet: Tracklet) -> None:
        """Rows for the frames between two looks, box and landmarks on the straight line between them."""
        a, b = tracklet.bridge, tracklet.last
        for frame in self.waiting:
            if a.frame < frame.number < b.frame:
                self._write(tracklet.id, frame, _middle(a, b, frame.time))

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

    def _drop_done(self) -> None:
        """Let go of pictures that nobody waits for."""
        done = min((tracklet.last.frame for tracklet in self.tracker.active), default=np.inf)
        while self.waiting and self.waiting[0].number <= done:
            self.waiting.popleft()

    def _crowded(self, share: float) -> bool:
        size = sum(plane.buffer_size for plane in self.waiting[-1].picture.planes) if self.waiting else 0
        return len(self.waiting) * size > share * self.config.buffer_mb * _MB


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
