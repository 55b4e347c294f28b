"""Tracklets of a whole video -> named people. Uses summaries of tracklets, no pixels; nothing is interpolated here.

A data set's subjects are named by their position (left, right, or the main one) in every shot, because annotations hold for the whole video. In
other videos tracklets are joined by color histogram, and the person with the largest area is the main subject.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from abaw_ray.core.process.child import heartbeat
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.faces.config import PeopleConfig
from abaw_ray.faces.tracking.segments import Segment


@dataclass(eq=False)
class TrackletSummary:
    """Summary of one tracklet, kept in memory until the end of the video."""

    id: int
    first_frame: int = 0
    last_frame: int = 0
    rows: int = 0
    area_sum: float = 0.0
    """Box areas as shares of the frame's area, summed over its rows."""
    x_sum: float = 0.0
    """Horizontal box centers as shares of the frame's width from the left, summed over its rows."""
    histogram: Float[np.ndarray, " bins"] = field(default_factory=lambda: np.zeros(1))
    """Color histogram of the face and its surroundings, summed over detections."""
    start_boxes: list[list[float]] = field(default_factory=list)
    """Time and box where its segment overlaps the previous one: ``[time, x0, y0, x1, y1]``."""
    end_boxes: list[list[float]] = field(default_factory=list)
    """The same where its segment overlaps the next one."""
    track: str | None = None
    """The name of its person, where the user's own boxes give one."""

    @property
    def center_x(self) -> float:
        """Mean horizontal center as a share of the frame's width from the left."""
        return self.x_sum / max(self.rows, 1)

    def add_row(self, frame: int, area: float, x: float) -> None:
        """Add a row, frames ascending."""
        self.first_frame = self.first_frame if self.rows else frame
        self.last_frame, self.rows, self.area_sum, self.x_sum = frame, self.rows + 1, self.area_sum + area, self.x_sum + x

    def add_overlap(self, time: float, box: Float[np.ndarray, "4"], segment: Segment) -> None:
        """Keep the box if a neighbouring segment covers the same time."""
        for boundary, boxes in ((segment.start, self.start_boxes), (segment.stop, self.end_boxes)):
            if segment.config.near_boundary(boundary, time):
                boxes.append([time, *box.tolist()])

    def coincides(self, other: "TrackletSummary") -> bool:
        """Return whether the frame ranges of both overlap."""
        return self.first_frame <= other.last_frame and other.first_frame <= self.last_frame


def name_subjects(tracklets: list[TrackletSummary], subjects: list[dict], config: PeopleConfig) -> dict[str, list[TrackletSummary]]:
    """Assign a data set's subject names to tracklets by position.

    Args:
        tracklets: All accepted tracklets.
        subjects: ``{"track": name, "side": "left" | "right" | ""}`` as in the ``VIDEO`` row. If only one of two subjects has a side, ""
            means the opposite side (``video2`` and ``video2_left``: the first is on the right); for a single subject it means the main subject.
        config: Threshold for background people.

    Returns:
        Tracklets by name in order of time, no two at the same time; empty for a person who is never seen.
    """
    sides = {subject["side"] for subject in subjects}
    opposite = {"left": "right", "right": "left"}
    split = _split_position(tracklets)
    named = {}
    for subject in subjects:
        side = subject["side"] or next((opposite[found] for found in sorted(sides) if found), "")
        candidates = [tracklet for tracklet in tracklets if not side or (tracklet.center_x < split) == (side == "left")]
        named[subject["track"]] = _select(candidates, config.min_area_ratio)
    return named


def name_people(tracklets: list[TrackletSummary], config: PeopleConfig) -> dict[str, list[TrackletSummary]]:
    """Join tracklets of similar color histograms; the person with the largest summed box area is the main subject.

    Returns:
        Tracklets by name in order of time; the names are ``main`` (always present), ``person-2``, ... by descending summed area.
    """
    people: list[list[TrackletSummary]] = []
    histograms: list[np.ndarray] = []
    for tracklet in _by_area(tracklets):
        heartbeat()
        free = [index for index, person in enumerate(people) if not any(tracklet.coincides(other) for other in person)]
        similarities = ((_similarity(tracklet.histogram, histograms[index]), -index) for index in free)
        similarity, index = max(similarities, default=(0.0, 0))
        if similarity >= config.min_histogram_similarity:
            people[-index].append(tracklet)
            histograms[-index] = histograms[-index] + tracklet.histogram
        else:
            people.append([tracklet])
            histograms.append(tracklet.histogram)
    people.sort(key=lambda person: (-sum(tracklet.area_sum for tracklet in person), person[0].id))
    names = [MAIN_TRACK, *(f"person-{number}" for number in range(2, len(people) + 1))]
    return {name: sorted(person, key=lambda t: t.first_frame) for name, person in zip(names, people or [[]], strict=True)}


def name_tracks(tracklets: list[TrackletSummary]) -> dict[str, list[TrackletSummary]]:
    """Group tracklets by the track names of the user's own boxes, in order of time."""
    named: dict[str, list[TrackletSummary]] = {}
    for tracklet in sorted(tracklets, key=lambda tracklet: tracklet.first_frame):
        assert tracklet.track is not None  # called only where every tracklet has a name
        named.setdefault(tracklet.track, []).append(tracklet)
    return dict(sorted(named.items()))


def _by_area(tracklets: list[TrackletSummary]) -> list[TrackletSummary]:
    return sorted(tracklets, key=lambda tracklet: (-tracklet.area_sum, tracklet.id))


def _split_position(tracklets: list[TrackletSummary]) -> float:
    """Return the horizontal position between two people: midway between the largest pair seen together, else the middle of the frame."""
    pairs = [(min(a.area_sum, b.area_sum), a, b) for i, a in enumerate(tracklets) for b in tracklets[i + 1 :] if a.coincides(b)]
    if not pairs:
        return 0.5
    _, a, b = max(pairs, key=lambda pair: (pair[0], -pair[1].id, -pair[2].id))
    return (a.center_x + b.center_x) / 2


def _select(tracklets: list[TrackletSummary], min_area_ratio: float) -> list[TrackletSummary]:
    """Return the largest tracklet, and the next largest ones in frames that it does not cover: the subject after a cut or an absence."""
    chosen: list[TrackletSummary] = []
    for tracklet in _by_area(tracklets):
        large = not chosen or tracklet.area_sum / tracklet.rows >= min_area_ratio * chosen[0].area_sum / chosen[0].rows
        if large and not any(tracklet.coincides(other) for other in chosen):
            chosen.append(tracklet)
    return sorted(chosen, key=lambda tracklet: tracklet.first_frame)


def _similarity(a: Float[np.ndarray, " bins"], b: Float[np.ndarray, " bins"]) -> float:
    """Return the intersection of two normalized color histograms, 0 to 1."""
    return float(np.minimum(a / max(a.sum(), 1e-9), b / max(b.sum(), 1e-9)).sum())
