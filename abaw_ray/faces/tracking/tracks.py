"""Faces seen at moments -> tracklets: the same person from look to look within one shot. Knows boxes and times, no pictures.

A tracklet ends at a cut, and rests where the face is not found for longer than ``max_gap``; in the same shot it may be taken up again at
about the same place. Who a tracklet is, by name, is ``people.py``'s; the chips are ``crop.py``'s.
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.boxes import cheapest_pairs, distance, iou, ratio, side
from abaw_ray.faces.detection.detect import Face

_NEVER = 1e6
_TAKEN = 0.4
"""A face that shares more than this with somebody else's box is that one's."""


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """How often one looks, and what counts as the same person. Seconds of presentation time, never frames. Ours, not from the paper."""

    search_every: float = 2.0
    """Seconds between two searches of the whole picture while all who are known are found; sooner where more pictures are too many to
    keep. A newcomer is followed back to her first picture; who comes and goes between two searches is missed. A search is the dearest
    thing there is after decoding: ``tools/bench/video`` shows what it costs."""
    seek_every: float = 0.5
    """Seconds between two searches while nobody is followed, or somebody is not found; the first picture of every shot is searched in any
    case."""
    follow_every: float = 0.2
    """Seconds between two looks at a known face; boxes in between are interpolated."""
    calm_every: float = 0.4
    """The same while everybody keeps still."""
    calm: float = 0.8
    """Intersection over union of a face's boxes from one look to the next, from which on it kept still; where it did not, and the looks were
    further apart than ``follow_every``, one looks at the picture halfway as well."""
    max_gap: float = 0.5
    """Seconds: a shorter stretch without the face is interpolated, a longer one has ``seen = false``."""
    remember: float = 10.0
    """Seconds for which a person who was lost in a shot is taken up again at about the same place."""
    min_hits: int = 3
    """Looks in which a tracklet must have been found, or it was a false one; all of them in a shot with fewer looks."""
    max_people: int = 4
    """People followed at the same time; a larger face takes the place of the smallest."""
    min_overlap: float = 0.1
    """Same face from look to look: boxes share at least this (intersection over union), or lie within ``max_move``."""
    max_move: float = 0.7
    """Same face from look to look: centres at most this apart, in units of the face's side."""
    max_growth: float = 2.0
    """Same face from look to look: at most this many times as large or small."""

    def __post_init__(self) -> None:
        """Refuse schedules that contradict each other."""
        if not 0 < self.follow_every <= self.calm_every <= min(self.max_gap, self.search_every) or self.seek_every <= 0:
            raise ConfigError(
                f"tracks.follow_every={self.follow_every} s must be above 0 and at most calm_every={self.calm_every} s, that at most "
                f"max_gap={self.max_gap} s and search_every={self.search_every} s; seek_every={self.seek_every} s above 0"
            )
        if self.min_hits < 1 or self.max_people < 1 or self.max_growth < 1 or self.remember < 0:
            raise ConfigError(f"tracks.min_hits={self.min_hits}, max_people={self.max_people}, max_growth={self.max_growth} must be at least 1")


@dataclass(eq=False)
class Sight:
    """A face at a moment, as it stands in the table."""

    frame: int
    time: float
    face: Face


@dataclass(eq=False)
class Tracklet:
    """One person from look to look, within one shot."""

    id: int
    shot: int
    last: Sight
    hits: int = 1
    bridge: Sight | None = None
    """The sight before ``last``, where the stretch between the two is to be interpolated."""
    before: Sight | None = None
    """The sight before ``last`` in any case; None for a newcomer."""
    kept: float = 0.0
    """Intersection over union of the two."""

    def see(self, sight: Sight, *, bridge: bool, hit: bool = True) -> None:
        """Add a sight; ``hit`` is False where it is counted elsewhere (``retrace.py``)."""
        self.before, self.last, self.hits = self.last, sight, self.hits + hit
        self.bridge = self.before if bridge else None
        self.kept = 0.0 if self.bridge is None else float(iou(self.bridge.face.box[None], sight.face.box[None])[0, 0])


class Tracker:
    """Gives faces to people, look after look."""

    def __init__(self, config: TrackConfig, min_score: float, count: int = 0) -> None:
        """``count``: the first tracklet's id is one more."""
        self.config, self.min_score = config, min_score
        self.active: list[Tracklet] = []
        self.resting: list[Tracklet] = []
        self.false: list[int] = []
        self.shot, self.looks, self.count = 0, 0, count
        self.looked: int | None = None  # frame of the last look

    def update(self, frame: int, time: float, faces: list[Face]) -> list[Tracklet]:
        """Take note of one look.

        Args:
            frame: Its number.
            time: Seconds.
            faces: What was found, each face once, by any score; new people need ``min_score``, known ones do not.

        Returns:
            The tracklets that were seen, their ``last`` and ``bridge`` brought up to date.
        """
        before, self.looks, self.looked = self.looked, self.looks + 1, frame
        strong = [index for index, face in enumerate(faces) if face.score >= self.min_score]
        known = self._pairs(self.active, list(range(len(faces))), faces)
        taken = {index for _, index in known}
        again = self._pairs(self.resting, [index for index in strong if index not in taken], faces)
        taken |= {index for _, index in again}
        for tracklet, index in known:
            short = tracklet.last.frame == before or time - tracklet.last.time <= self.config.max_gap
            tracklet.see(Sight(frame, time, faces[index]), bridge=short)
        for tracklet, index in again:
            tracklet.see(Sight(frame, time, faces[index]), bridge=False)
        new = [self._new(Sight(frame, time, faces[index])) for index in strong if index not in taken]
        self._sort(time, returned=[tracklet for tracklet, _ in again], new=new)
        return [tracklet for tracklet in self.active if tracklet.last.frame == frame]

    @property
    def all_found(self) -> bool:
        """Whether somebody is followed, and everybody who is was found in the last look."""
        return bool(self.active) and all(tracklet.last.frame == self.looked for tracklet in self.active)

    @property
    def all_still(self) -> bool:
        """Whether they also kept still since the look before."""
        return self.all_found and all(tracklet.kept >= self.config.calm for tracklet in self.active)

    def same(self, tracklet: Tracklet, sight: Sight, faces: list[Face]) -> Face | None:
        """Which of these faces, seen at another moment, is the one of this sight; None if none is, or it is somebody else who is followed."""
        others = np.array([other.last.face.box for other in self.active if other is not tracklet]).reshape(-1, 4)
        free = [face for face in faces if not (iou(face.box[None], others) > _TAKEN).any()]
        pairs = self._pairs([Tracklet(0, self.shot, sight)], list(range(len(free))), free)
        return free[pairs[0][1]] if pairs else None

    def rest_oldest(self) -> None:
        """Give up waiting for the person not seen for longest (memory is short)."""
        oldest = min(self.active, key=lambda tracklet: tracklet.last.frame)
        self.active.remove(oldest)
        self.resting.append(oldest)

    def cut(self) -> None:
        """A shot ends: nobody goes on."""
        self._dismiss(self.active + self.resting)
        self.active, self.resting = [], []
        self.shot, self.looks = self.shot + 1, 0

    def rejected(self) -> set[int]:
        """Ids of tracklets too rarely found to be believed; complete after the last ``cut``."""
        return set(self.false)

    def _pairs(self, tracklets: list[Tracklet], rows: list[int], faces: list[Face]) -> list[tuple[Tracklet, int]]:
        """The cheapest assignment of faces to tracklets, without pairs that cannot be one person."""
        if not tracklets or not rows:
            return []
        before, here = np.stack([tracklet.last.face.box for tracklet in tracklets]), np.stack([faces[row].box for row in rows])
        shared, apart = iou(before, here), distance(before, here)
        near = (shared >= self.config.min_overlap) | (apart <= self.config.max_move)
        near &= ratio(before, here) <= self.config.max_growth
        for index, tracklet in enumerate(tracklets):
            for place, row in enumerate(rows):
                if (tracklet.last.face.track, faces[row].track) != (None, None):  # who it is was said
                    near[index, place] = tracklet.last.face.track == faces[row].track
        cost = np.where(near, 1 - shared + apart, _NEVER)
        return [(tracklets[a], rows[b]) for a, b in cheapest_pairs(cost) if near[a, b]]

    def _new(self, sight: Sight) -> Tracklet:
        self.count += 1
        return Tracklet(self.count, self.shot, sight)

    def _sort(self, time: float, returned: list[Tracklet], new: list[Tracklet]) -> None:
        """Who goes on, who rests, who is forgotten."""
        here = self.active + returned + new
        gone = [tracklet for tracklet in here if time - tracklet.last.time > self.config.max_gap]
        here = sorted((t for t in here if t not in gone), key=lambda tracklet: -float(side(tracklet.last.face.box)))
        rest = [tracklet for tracklet in self.resting if tracklet not in returned] + gone + here[self.config.max_people :]
        self.active = here[: self.config.max_people]
        self.resting = [tracklet for tracklet in rest if time - tracklet.last.time <= self.config.remember]
        self._dismiss([tracklet for tracklet in rest if tracklet not in self.resting])

    def _dismiss(self, tracklets: list[Tracklet]) -> None:
        needed = min(self.config.min_hits, self.looks)
        self.false += [tracklet.id for tracklet in tracklets if tracklet.hits < needed]
