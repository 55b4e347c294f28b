"""Pictures between two looks -> where somebody stood in them: before she was found, after she was seen for the last time, and while she moved.

Looks are far apart because looking is dear; the pictures between them are still there for a while (``watch.py`` keeps them), and where a look
says that something happened in between, a few more looks at the right pictures tell when.
"""

from collections import deque

from abaw_ray.faces.boxes import between
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.detection.observe import Observer
from abaw_ray.faces.tracking.tracks import Sight, Tracker, Tracklet
from abaw_ray.media.frame import Frame

_LONGER = 1.5
"""Times ``follow_every``: two looks that are further apart leave room for one between them."""


class Retrace:
    """Looks again at pictures that went by."""

    def __init__(self, tracker: Tracker, observer: Observer, recent: deque[Frame]) -> None:
        """``recent``: the pictures that are still there, ascending; filled and emptied by others."""
        self.tracker, self.observer, self.recent = tracker, observer, recent

    def before(self, tracklet: Tracklet, known: int) -> list[Sight]:
        """Earlier sights of a newcomer, ascending: as often as one follows, and halving the rest where she is not found any more.

        Args:
            tracklet: Seen in the newest picture.
            known: Number of the frame up to which she has her rows; 0 for none.
        """
        first, missing, sights = tracklet.last, known, []
        stride = self.tracker.config.follow_every
        while earlier := self._pictures(missing, first.frame):
            far = next((frame for frame in reversed(earlier) if first.time - frame.time >= stride), earlier[0])
            frame = far if missing == known else earlier[len(earlier) // 2]
            sight = self._look(tracklet, frame, first)
            if sight is None:
                missing = frame.number
            else:
                first = sight
                sights.insert(0, sight)
        self._count(tracklet, sights[::-1])
        return sights

    def after(self, tracklet: Tracklet, missing: int) -> list[Sight]:
        """Later sights of somebody who was not found in picture ``missing``, ascending: halving the time since she was last seen."""
        sights = [tracklet.last]
        while later := self._pictures(sights[-1].frame, missing):
            frame = later[len(later) // 2]
            sight = self._look(tracklet, frame, sights[-1])
            if sight is None:
                missing = frame.number
            else:
                sights.append(sight)
        self._count(tracklet, sights[1:])
        return sights[1:]

    def halfway(self, tracklet: Tracklet) -> list[Sight]:
        """A sight between a tracklet's last two, if these are far apart in time and place."""
        a, b, tracks = tracklet.bridge, tracklet.last, self.tracker.config
        if tracklet.kept >= tracks.calm or b.time - a.time <= tracks.follow_every * _LONGER:
            return []
        pictures = self._pictures(a.frame, b.frame)
        if not pictures:
            return []
        frame = pictures[len(pictures) // 2]
        sight = self._look(tracklet, frame, Sight(frame.number, frame.time, middle(a, b, frame.time)))
        return [] if sight is None else [sight]

    def _count(self, tracklet: Tracklet, sights: list[Sight]) -> None:
        """Sights as far apart as looks are hits, like theirs; neighbouring pictures share their mistakes. ``sights``: the nearest first."""
        counted = tracklet.last
        for sight in sights:
            if abs(sight.time - counted.time) >= self.tracker.config.follow_every:
                counted, tracklet.hits = sight, tracklet.hits + 1

    def _pictures(self, low: int, high: int) -> list[Frame]:
        return [frame for frame in self.recent if low < frame.number < high]

    def _look(self, tracklet: Tracklet, frame: Frame, near: Sight) -> Sight | None:
        face = self.tracker.same(tracklet, near, self.observer.look(frame, [near.face.box]))
        return None if face is None else Sight(frame.number, frame.time, face)


def middle(a: Sight, b: Sight, time: float) -> Face:
    """The face on the straight line between two sights."""
    share = (time - a.time) / (b.time - a.time)
    both = a.face.landmarks is not None and b.face.landmarks is not None
    landmarks = between(a.face.landmarks, b.face.landmarks, share) if both else None
    return Face(between(a.face.box, b.face.box, share), None, landmarks, "interpolated", a.face.track)
