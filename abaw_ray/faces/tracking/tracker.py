"""Detections in single frames -> tracklets: the detections of one person within one shot. Uses boxes, brightness and times, no pixels.

A tracklet ends at a cut. It is lost if its face is not detected for longer than ``max_gap_s``; a detection of about the same place and size in the
same shot resumes it, if its embedding agrees, or else if no other face could be meant. ``people.py`` names the people of tracklets,
``segment_tracker.py`` crops the chips.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from abaw_ray.faces.boxes import center_distance, iou, lerp, longer_side, min_cost_assignment, size_ratio
from abaw_ray.faces.config import TrackConfig
from abaw_ray.faces.detection.detect import Face

_INFEASIBLE = 1e6
"""Cost of a pair that cannot be one person."""
_OCCUPIED_IOU = 0.4
"""A face with a larger intersection over union with the box of another tracklet belongs to that one."""

_SURE_MIN_IOU = 0.3
"""Minimum intersection over union for a face of a low score, or for one that started a tracklet of its own: a hand or a person behind near a face
that has just left has less."""
_MAX_BRIGHTNESS_RATIO, _DARK = 2.5, 8.0
"""Maximum ratio of the brightness of one person's successive faces, after addition of a level of noise. Measured: up to 1.4 within a shot, 2.4 in a
fade; 4 where a lit face leaves and a dark one behind takes its place."""
_RIVAL_DISTANCE = 2.0
"""A lost person may be any of the faces nearer than this, in units of their longer side."""
SamePerson = Callable[[int, Face], bool | None]
"""``(tracklet, face)`` -> whether a face is the person of a lost tracklet; None where that is not known."""


@dataclass(eq=False)
class Observation:
    """A face in one frame, detected or interpolated."""

    frame: int
    time: float
    """Seconds."""
    face: Face


@dataclass(eq=False)
class Tracklet:
    """The observations of one person within one shot; only the latest ones are kept."""

    id: int
    shot: int
    last: Observation
    hits: int = 1
    interpolate_from: Observation | None = None
    """The observation before ``last``, where the frames between the two are to be interpolated."""
    previous: Observation | None = None
    """The observation before ``last``, also where the frames between are not interpolated; None for a new tracklet."""
    last_iou: float = 0.0
    """Intersection over union of ``interpolate_from`` and ``last``; 0 where the former is None."""

    def add(self, observation: Observation, *, interpolate: bool, hit: bool = True) -> None:
        """Add an observation; ``hit`` is False where it is counted elsewhere (``backtrack.py``)."""
        self.previous, self.last, self.hits = self.last, observation, self.hits + hit
        self.interpolate_from = self.previous if interpolate else None
        self.last_iou = 0.0 if self.interpolate_from is None else float(iou(self.interpolate_from.face.box[None], observation.face.box[None])[0, 0])

    def box_at(self, time: float) -> Float[np.ndarray, "4"]:
        """Return the box at a time between the last two observations, by linear interpolation; the last box at other times."""
        before, after = self.previous, self.last
        if before is None or not before.time <= time < after.time:
            return after.face.box
        return lerp(before.face.box, after.face.box, (time - before.time) / (after.time - before.time))


class Tracker:
    """Matches faces to tracklets, detection after detection."""

    def __init__(self, config: TrackConfig, min_score: float, last_id: int = 0) -> None:
        """``last_id``: one less than the id of the first tracklet."""
        self.config, self.min_score = config, min_score
        self.active: list[Tracklet] = []
        self.lost: list[Tracklet] = []
        self.rejected: set[int] = set()
        """Ids of tracklets with too few hits to be accepted; complete after the last ``end_shot``."""
        self.shot, self.updates, self.last_id = 0, 0, last_id
        self.last_frame: int | None = None
        """Number of the last frame that went through the detector."""

    def update(self, frame: int, time: float, faces: list[Face], same_person: SamePerson | None = None) -> list[Tracklet]:
        """Match the faces of one frame.

        Args:
            frame: Its number.
            time: Seconds.
            faces: The detections, each face once, of any score; new and lost tracklets need ``min_score``, active ones do not.
            same_person: Compares embeddings; None where there are none.

        Returns:
            The tracklets found in this frame, with ``last`` and ``interpolate_from`` updated.
        """
        before, self.updates, self.last_frame = self.last_frame, self.updates + 1, frame
        strong = [index for index, face in enumerate(faces) if self._is_strong(face)]
        continued = self._match(self.active, list(range(len(faces))), faces)
        matched = {index for _, index in continued}
        resumed = self._match_lost([index for index in strong if index not in matched], faces, same_person)
        matched |= {index for _, index in resumed}
        for tracklet, index in continued:
            is_short_gap = tracklet.last.frame == before or time - tracklet.last.time <= self.config.max_gap_s
            tracklet.add(Observation(frame, time, faces[index]), interpolate=is_short_gap)
        for tracklet, index in resumed:
            tracklet.add(Observation(frame, time, faces[index]), interpolate=False)
        new = [self._new(Observation(frame, time, faces[index])) for index in strong if index not in matched]
        self._update_states(time, resumed=[tracklet for tracklet, _ in resumed], new=new)
        return [tracklet for tracklet in self.active if tracklet.last.frame == frame]

    @property
    def all_found(self) -> bool:
        """Whether people are tracked, and all of them were found in the last detection."""
        return bool(self.active) and all(tracklet.last.frame == self.last_frame for tracklet in self.active)

    @property
    def all_static(self) -> bool:
        """Whether, in addition, all of them were static since the previous detection."""
        return self.all_found and all(tracklet.last_iou >= self.config.static_iou for tracklet in self.active)

    def match_one(self, tracklet: Tracklet, observation: Observation, time: float, faces: list[Face]) -> Face | None:
        """Return the face of the frame at ``time`` that matches this observation; None if none does, or it belongs to another active tracklet."""
        others = np.array([other.box_at(time) for other in self.active if other is not tracklet]).reshape(-1, 4)
        free = [face for face in faces if not (iou(face.box[None], others) > _OCCUPIED_IOU).any()]
        pairs = self._match([Tracklet(0, self.shot, observation)], list(range(len(free))), free)
        return free[pairs[0][1]] if pairs else None

    def continue_with_new(self, tracklet: Tracklet) -> Tracklet | None:
        """Continue a tracklet with one that starts in this frame, if they match now that observations were added to it; returns the latter.

        A fast motion between two detections makes a new tracklet of a known person.
        """
        new = [other for other in self.active if other.previous is None and other.last.frame == self.last_frame and other is not tracklet]
        pairs = self._match([tracklet], list(range(len(new))), [other.last.face for other in new])
        other = new[pairs[0][1]] if pairs else None
        if other is None or iou(tracklet.last.face.box[None], other.last.face.box[None])[0, 0] < _SURE_MIN_IOU:
            return None
        self.active.remove(other)
        tracklet.add(other.last, interpolate=other.last.time - tracklet.last.time <= self.config.max_gap_s)
        return other

    def drop_oldest(self) -> None:
        """Mark the person who was not detected for longest as lost, because the frame buffer is full."""
        oldest = min(self.active, key=lambda tracklet: tracklet.last.frame)
        self.active.remove(oldest)
        self.lost.append(oldest)

    def end_shot(self) -> None:
        """End all tracklets at a cut."""
        self._remove(self.active + self.lost)
        self.active, self.lost = [], []
        self.shot, self.updates = self.shot + 1, 0

    def _match(self, tracklets: list[Tracklet], rows: list[int], faces: list[Face]) -> list[tuple[Tracklet, int]]:
        """Return the assignment of faces to tracklets with least cost, without pairs that cannot be one person."""
        if not tracklets or not rows:
            return []
        return _assign(*self._compare(tracklets, rows, faces), tracklets, rows)

    def _compare(
        self, tracklets: list[Tracklet], rows: list[int], faces: list[Face]
    ) -> tuple[Float[np.ndarray, "tracklets rows"], Bool[np.ndarray, "tracklets rows"]]:
        """Return the cost of each pair, and whether it can be one person by place, size and brightness."""
        last, current = np.stack([tracklet.last.face.box for tracklet in tracklets]), np.stack([faces[row].box for row in rows])
        overlap, distance = iou(last, current), center_distance(last, current)
        feasible = (overlap >= self.config.min_iou) | (distance <= self.config.max_center_distance)
        feasible &= size_ratio(last, current) <= self.config.max_size_ratio
        feasible &= np.array([self._is_strong(faces[row]) for row in rows]) | (overlap >= _SURE_MIN_IOU)
        for index, tracklet in enumerate(tracklets):
            for column, row in enumerate(rows):
                feasible[index, column] &= _similar_brightness(tracklet.last.face, faces[row])
                if (tracklet.last.face.track, faces[row].track) != (None, None):  # the user's table names the person
                    feasible[index, column] = tracklet.last.face.track == faces[row].track
        return 1 - overlap + distance, feasible

    def _match_lost(self, rows: list[int], faces: list[Face], same_person: SamePerson | None) -> list[tuple[Tracklet, int]]:
        """Return the lost tracklets that faces resume: the embedding agrees, or there is none and no other face or lost person could be meant."""
        if not self.lost or not rows:
            return []
        cost, feasible = self._compare(self.lost, rows, faces)
        near = center_distance(np.stack([tracklet.last.face.box for tracklet in self.lost]), np.stack([face.box for face in faces])) < _RIVAL_DISTANCE
        accepted = feasible.copy()
        for index, column in np.argwhere(feasible).tolist():
            tracklet, face = self.lost[index], faces[rows[column]]
            if face.track is not None:
                continue
            verdict = None if same_person is None else same_person(tracklet.id, face)
            alone = len(rows) == 1 and near[index].sum() <= 1 and feasible[:, column].sum() == 1
            accepted[index, column] = alone if verdict is None else verdict
        return _assign(cost, accepted, self.lost, rows)

    def _is_strong(self, face: Face) -> bool:
        return face.score is not None and face.score >= self.min_score

    def _new(self, observation: Observation) -> Tracklet:
        self.last_id += 1
        return Tracklet(self.last_id, self.shot, observation)

    def _update_states(self, time: float, resumed: list[Tracklet], new: list[Tracklet]) -> None:
        """Update the lists of active and lost tracklets, and remove those that were lost for too long."""
        candidates = self.active + resumed + new
        timed_out = [tracklet for tracklet in candidates if time - tracklet.last.time > self.config.max_gap_s]
        candidates = sorted((t for t in candidates if t not in timed_out), key=lambda tracklet: -float(longer_side(tracklet.last.face.box)))
        lost = [tracklet for tracklet in self.lost if tracklet not in resumed] + timed_out + candidates[self.config.max_people :]
        self.active = candidates[: self.config.max_people]
        self.lost = [tracklet for tracklet in lost if time - tracklet.last.time <= self.config.reid_timeout_s]
        self._remove([tracklet for tracklet in lost if tracklet not in self.lost])

    def _remove(self, tracklets: list[Tracklet]) -> None:
        needed = min(self.config.min_hits, self.updates)
        self.rejected |= {tracklet.id for tracklet in tracklets if tracklet.hits < needed}


def _assign(
    cost: Float[np.ndarray, "tracklets rows"], feasible: Bool[np.ndarray, "tracklets rows"], tracklets: list[Tracklet], rows: list[int]
) -> list[tuple[Tracklet, int]]:
    """Return the feasible pairs of the assignment of least cost."""
    cost = np.where(feasible, cost, _INFEASIBLE)
    return [(tracklets[a], rows[b]) for a, b in min_cost_assignment(cost) if feasible[a, b]]


def _similar_brightness(a: Face, b: Face) -> bool:
    if a.brightness is None or b.brightness is None:
        return True
    low, high = sorted((a.brightness, b.brightness))
    return high + _DARK <= _MAX_BRIGHTNESS_RATIO * (low + _DARK)
