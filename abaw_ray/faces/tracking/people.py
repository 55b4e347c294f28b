"""Tracklets of a whole video -> named people. Uses summaries of tracklets, no pixels; nothing is interpolated here.

A data set's subjects are named by their position (left, right, or the main one) in every shot, because annotations hold for the whole video. In
other videos tracklets are joined by face embeddings alone, and the person with the largest area is the main subject.
"""

from itertools import combinations

from abaw_ray.core.process.child import heartbeat
from abaw_ray.core.schema import MAIN_TRACK
from abaw_ray.faces.config import PeopleConfig
from abaw_ray.faces.identity.embedder import SimilarityThresholds
from abaw_ray.faces.tracking.summary import TrackletSummary


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


def count_mixed(named: dict[str, list[TrackletSummary]], config: PeopleConfig, thresholds: SimilarityThresholds | None) -> int:
    """Return the number of subjects that have two tracklets with clearly different faces: position and annotation may not be one person there."""
    minimum = config.votes.min_votes

    def differ(a: TrackletSummary, b: TrackletSummary) -> bool:
        similarity = a.similarity(b, minimum)
        return thresholds is not None and similarity is not None and similarity < thresholds.different

    return sum(any(differ(a, b) for a, b in combinations(tracklets, 2)) for tracklets in named.values())


def name_people(
    tracklets: list[TrackletSummary], config: PeopleConfig, thresholds: SimilarityThresholds | None = None
) -> dict[str, list[TrackletSummary]]:
    """Join tracklets of one person by their votes; the person with the largest summed box area is the main subject.

    A tracklet joins a person if it resembles each of the person's tracklets (complete linkage), coincides with none of them, and resembles no
    other person more, also none who is seen at the same time. Tracklets with too few votes, and all of them without an embedder, stay apart.

    Returns:
        Tracklets by name in order of time; the names are ``main`` (always present), ``person-2``, ... by descending summed area.
    """
    people: list[list[TrackletSummary]] = []
    for tracklet in _by_area(tracklets):
        heartbeat()
        similarities = [_complete_linkage(tracklet, person, config.votes.min_votes) for person in people] if thresholds else []
        best = max(range(len(similarities)), key=lambda index: similarities[index], default=None)
        if (
            thresholds is not None
            and best is not None
            and similarities[best] >= thresholds.same
            and not any(tracklet.coincides(other) for other in people[best])
        ):
            people[best].append(tracklet)
        else:
            people.append([tracklet])
    people.sort(key=lambda person: (-sum(tracklet.area_sum for tracklet in person), person[0].id))
    names = [MAIN_TRACK, *(f"person-{number}" for number in range(2, len(people) + 1))]
    return {name: sorted(person, key=lambda t: t.first_frame) for name, person in zip(names, people or [[]], strict=True)}


def _complete_linkage(tracklet: TrackletSummary, person: list[TrackletSummary], min_votes: int) -> float:
    """Return the least similarity of a tracklet to those of a person; -1 where one of them has too few votes."""
    similarities = [tracklet.similarity(other, min_votes) for other in person]
    return min((-1.0 if similarity is None else similarity for similarity in similarities), default=-1.0)


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
