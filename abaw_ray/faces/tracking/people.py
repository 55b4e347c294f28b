"""Tracklets of a whole video -> named people. Knows sums and spans of tracklets, no pictures; nothing is interpolated here.

A data set's subjects are named by their place (left, right, or the main one) in every shot, for its annotations hold for the whole video. Any
other video's tracklets are joined where they look alike, and the largest person is the main subject.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.process.child import heartbeat
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.faces.tracking.segments import Stretch


@dataclass(frozen=True, kw_only=True)
class PeopleConfig:
    """When two tracklets are one person. Ours, not from the paper."""

    likeness: float = 0.75
    """Share of the colours of face and surroundings that two stretches must have in common, 0 to 1, to be one person across a cut."""
    stand_in: float = 0.25
    """A named subject's other stretches: mean area at least this share of the largest one's, or it is somebody in the background."""

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if not (0 < self.likeness <= 1 and 0 <= self.stand_in <= 1):
            raise ConfigError(f"people.likeness={self.likeness} must be above 0 and at most 1, people.stand_in={self.stand_in} between 0 and 1")


@dataclass(eq=False)
class Summary:
    """What is kept in memory of one tracklet."""

    id: int
    first: int = 0
    """Number of its first frame."""
    last: int = 0
    """Number of its last frame."""
    rows: int = 0
    area: float = 0.0
    """Box areas as shares of the picture, summed over its frames."""
    x: float = 0.0
    """Centres as shares of the picture's width from the left, summed over its frames."""
    colours: Float[np.ndarray, " bins"] = field(default_factory=lambda: np.zeros(1))
    """Histogram of face and surroundings, summed over looks."""
    head: list[list[float]] = field(default_factory=list)
    """Time and box where its stretch meets the one before: ``[time, x0, y0, x1, y1]``."""
    tail: list[list[float]] = field(default_factory=list)
    """Likewise where its stretch meets the next."""
    track: str | None = None
    """Whose it is, where the user's own boxes say so."""

    @property
    def centre(self) -> float:
        """Mean place as a share of the picture's width from the left."""
        return self.x / max(self.rows, 1)

    def see(self, frame: int, area: float, x: float) -> None:
        """Add a frame; they ascend."""
        self.first = self.first if self.rows else frame
        self.last, self.rows, self.area, self.x = frame, self.rows + 1, self.area + area, self.x + x

    def see_at_seam(self, time: float, box: Float[np.ndarray, "4"], stretch: Stretch) -> None:
        """Note the box if a neighbouring stretch watches the same moment."""
        for seam, place in ((stretch.begin, self.head), (stretch.end, self.tail)):
            if stretch.config.about(seam, time):
                place.append([time, *box.tolist()])

    def meets(self, other: "Summary") -> bool:
        """Whether both are in the video at the same time."""
        return self.first <= other.last and other.first <= self.last


def name_subjects(tracklets: list[Summary], subjects: list[dict], config: PeopleConfig) -> dict[str, list[Summary]]:
    """Give a data set's names to tracklets by place.

    Args:
        tracklets: All that are believed.
        subjects: ``{"track": name, "side": "left" | "right" | ""}`` as in the ``VIDEO`` row. A side of "" beside a sibling with one means
            the other side (``video2`` + ``video2_left``: the first is on the right); alone, the main subject.
        config: What counts as a background person.

    Returns:
        For every name its tracklets in order of time, no two at the same time; empty where that person was never seen.
    """
    sides = {subject["side"] for subject in subjects}
    other = {"left": "right", "right": "left"}
    split = _split(tracklets)
    named = {}
    for subject in subjects:
        side = subject["side"] or next((other[found] for found in sorted(sides) if found), "")
        here = [tracklet for tracklet in tracklets if not side or (tracklet.centre < split) == (side == "left")]
        named[subject["track"]] = _fill(here, config.stand_in)
    return named


def name_people(tracklets: list[Summary], config: PeopleConfig) -> dict[str, list[Summary]]:
    """Join tracklets that look alike, and call the person with the largest summed box area the main subject.

    Returns:
        ``main`` (in any case), ``person-2``, ... in order of summed area; for each its tracklets in order of time.
    """
    people: list[list[Summary]] = []
    colours: list[np.ndarray] = []
    for tracklet in _by_area(tracklets):
        heartbeat()
        free = [index for index, person in enumerate(people) if not any(tracklet.meets(other) for other in person)]
        score, index = max(((_likeness(tracklet.colours, colours[index]), -index) for index in free), default=(0.0, 0))
        if score >= config.likeness:
            people[-index].append(tracklet)
            colours[-index] = colours[-index] + tracklet.colours
        else:
            people.append([tracklet])
            colours.append(tracklet.colours)
    people.sort(key=lambda person: (-sum(tracklet.area for tracklet in person), person[0].id))
    names = [MAIN_TRACK, *(f"person-{number}" for number in range(2, len(people) + 1))]
    return {name: sorted(person, key=lambda t: t.first) for name, person in zip(names, people or [[]], strict=True)}


def name_tracks(tracklets: list[Summary]) -> dict[str, list[Summary]]:
    """Take the names that the user's own boxes give; each track's tracklets in order of time."""
    named: dict[str, list[Summary]] = {}
    for tracklet in sorted(tracklets, key=lambda tracklet: tracklet.first):
        named.setdefault(tracklet.track, []).append(tracklet)
    return dict(sorted(named.items()))


def _by_area(tracklets: list[Summary]) -> list[Summary]:
    return sorted(tracklets, key=lambda tracklet: (-tracklet.area, tracklet.id))


def _split(tracklets: list[Summary]) -> float:
    """The place between the two people: midway between the largest pair that is there together, else the picture's middle."""
    pairs = [(min(a.area, b.area), a, b) for i, a in enumerate(tracklets) for b in tracklets[i + 1 :] if a.meets(b)]
    if not pairs:
        return 0.5
    _, a, b = max(pairs, key=lambda pair: (pair[0], -pair[1].id, -pair[2].id))
    return (a.centre + b.centre) / 2


def _fill(tracklets: list[Summary], stand_in: float) -> list[Summary]:
    """The largest tracklet, and the next largest ones wherever it is not there: the subject after a cut, or back after a walk."""
    chosen: list[Summary] = []
    for tracklet in _by_area(tracklets):
        large = not chosen or tracklet.area / tracklet.rows >= stand_in * chosen[0].area / chosen[0].rows
        if large and not any(tracklet.meets(other) for other in chosen):
            chosen.append(tracklet)
    return sorted(chosen, key=lambda tracklet: tracklet.first)


def _likeness(a: Float[np.ndarray, " bins"], b: Float[np.ndarray, " bins"]) -> float:
    """Intersection of two histograms of colour, 0 to 1."""
    return float(np.minimum(a / max(a.sum(), 1e-9), b / max(b.sum(), 1e-9)).sum())
