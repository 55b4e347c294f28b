"""Buffered frames between two detections -> further observations of a tracklet: before its first, after its last, and halfway while it moves.

Detections are far apart because they are expensive. The frames in between stay in a buffer for a while (``segment_tracker.py``). Where a
detection shows that a person appeared, disappeared or moved in between, a few more detections on buffered frames determine when.
"""

from collections import deque

from abaw_ray.faces.boxes import lerp
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.detection.frame_detector import FrameDetector
from abaw_ray.faces.tracking.tracker import Observation, Tracker, Tracklet
from abaw_ray.media.frame import Frame

_MIN_SPACING = 1.5
"""Two detections are far enough apart for another one between them if they are more than this apart, in units of ``follow_interval_s``."""


class Backtracker:
    """Runs the detector on buffered frames."""

    def __init__(self, tracker: Tracker, frame_detector: FrameDetector, recent: deque[Frame]) -> None:
        """``recent``: the buffered frames, ascending; the caller adds and removes them."""
        self.tracker, self.frame_detector, self.recent = tracker, frame_detector, recent

    def extend_back(self, tracklet: Tracklet, last_row: int) -> list[Observation]:
        """Return earlier observations of a new tracklet, ascending.

        Steps back by ``follow_interval_s``, and bisects the rest once the face is not found.

        Args:
            tracklet: Detected in the newest frame.
            last_row: Number of the frame up to which the tracklet has rows; 0 for none.
        """
        first, missing = tracklet.last, last_row
        observations: list[Observation] = []
        step = self.tracker.config.follow_interval_s
        while earlier := self._frames_between(missing, first.frame):
            at_step = next((frame for frame in reversed(earlier) if first.time - frame.time >= step), earlier[0])
            frame = at_step if missing == last_row else earlier[len(earlier) // 2]
            observation = self._detect(tracklet, frame, first)
            if observation is None:
                missing = frame.number
            else:
                first = observation
                observations.insert(0, observation)
        self._count_hits(tracklet, observations[::-1])
        return observations

    def extend_forward(self, tracklet: Tracklet, missing: int) -> list[Observation]:
        """Return later observations of a person not found in frame ``missing``, ascending; bisects the time since the last observation."""
        observations = [tracklet.last]
        while later := self._frames_between(observations[-1].frame, missing):
            frame = later[len(later) // 2]
            observation = self._detect(tracklet, frame, observations[-1])
            if observation is None:
                missing = frame.number
            else:
                observations.append(observation)
        self._count_hits(tracklet, observations[1:])
        return observations[1:]

    def midpoint(self, tracklet: Tracklet) -> list[Observation]:
        """Return one observation between the last two of a tracklet if these are far apart in time and position; else an empty list."""
        a, b, tracks = tracklet.interpolate_from, tracklet.last, self.tracker.config
        if a is None or tracklet.last_iou >= tracks.static_iou or b.time - a.time <= tracks.follow_interval_s * _MIN_SPACING:
            return []
        frames = self._frames_between(a.frame, b.frame)
        if not frames:
            return []
        frame = frames[len(frames) // 2]
        observation = self._detect(tracklet, frame, Observation(frame.number, frame.time, interpolate(a, b, frame.time)))
        return [] if observation is None else [observation]

    def _count_hits(self, tracklet: Tracklet, observations: list[Observation]) -> None:
        """Count observations at least one interval apart as hits: errors in neighboring frames are correlated. ``observations``: nearest first."""
        counted = tracklet.last
        for observation in observations:
            if abs(observation.time - counted.time) >= self.tracker.config.follow_interval_s:
                counted, tracklet.hits = observation, tracklet.hits + 1

    def _frames_between(self, low: int, high: int) -> list[Frame]:
        return [frame for frame in self.recent if low < frame.number < high]

    def _detect(self, tracklet: Tracklet, frame: Frame, near: Observation) -> Observation | None:
        face = self.tracker.match_one(tracklet, near, frame.time, self.frame_detector.follow(frame, [near.face.box]))
        return None if face is None else Observation(frame.number, frame.time, face)


def interpolate(a: Observation, b: Observation, time: float) -> Face:
    """Return the face at ``time`` by linear interpolation of two observations."""
    weight = (time - a.time) / (b.time - a.time)
    first, second = a.face.landmarks, b.face.landmarks
    landmarks = None if first is None or second is None else lerp(first, second, weight)
    return Face(lerp(a.face.box, b.face.box, weight), None, landmarks, "interpolated", a.face.track)
