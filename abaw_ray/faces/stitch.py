"""Pieces of one video -> the whole: every frame with its number, every person from stretch to stretch.

Works on times and boxes alone; no picture is looked at and no chip is made twice. A video that was watched in one piece goes the same way.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from abaw_ray.core.process.child import heartbeat
from abaw_ray.faces.boxes import cheapest_pairs, iou
from abaw_ray.faces.chunk_files import Piece
from abaw_ray.faces.tracking.people import Summary
from abaw_ray.faces.tracking.segment_tracker import stretch_of

_SAME = 0.5
"""Mean overlap (intersection over union) of the boxes of one person as two stretches saw them: the same pictures, looked at at other moments."""


class SeamError(Exception):
    """Two pieces do not meet frame by frame: this file gives other pictures after a jump, and must be decoded from its beginning."""


@dataclass(eq=False)
class Person:
    """One tracklet, put together from those of its stretches."""

    summary: Summary
    parts: list[tuple[int, int]]
    """Number of the piece and id of the tracklet in it, in order of time."""


@dataclass(eq=False)
class Whole:
    """A video put together; its frames are counted from 1."""

    times: Float[np.ndarray, " frames"]
    later: list[int]
    """What is added to each piece's frame numbers."""
    people: list[Person]
    broke: str | None


def stitch(pieces: list[Piece]) -> Whole:
    """Number the frames and join the people.

    Where decoding broke in a piece, the pieces behind it do not count: whoever decodes from the beginning never gets there.

    Args:
        pieces: All of a video's pieces in order.

    Raises:
        SeamError: two neighbours did not decode the same pictures at their seam, or times had to be made up.

    Source: ours, defined by one piece that is the whole video.
    """
    if len(pieces) > 1 and any(piece.mended for piece in pieces):
        raise SeamError("its frames have no times of their own")
    used, later, count = [], [], 0
    for piece in pieces:
        if used:
            _check_seam(used[-1], piece)
        used.append(piece)
        later.append(count + 1 - piece.first)
        count += len(piece.times)
        if piece.broke is not None and not piece.complete:
            break
    times = np.concatenate([np.asarray(piece.times, dtype=np.float64) for piece in used])
    return Whole(times, later, _people(used, later), used[-1].broke)


def _check_seam(before: Piece, after: Piece) -> None:
    if before.closing != after.opening or (before.times and after.times and before.times[-1] >= after.times[0]):
        raise SeamError("its pictures differ after a jump")


def _people(pieces: list[Piece], later: list[int]) -> list[Person]:
    people: list[Person] = []
    ending: dict[int, list[tuple[Summary, Person]]] = {}
    for index, piece in enumerate(pieces):
        for stretch, tracklets in _by_stretch(piece.tracklets).items():
            heartbeat()
            known = ending.get(stretch - 1, [])
            before = _same([summary for summary, _ in known], tracklets)
            ending[stretch] = []
            for number, tracklet in enumerate(tracklets):
                here = replace(tracklet, first=tracklet.first + later[index], last=tracklet.last + later[index])
                if number in before:
                    person = known[before[number]][1]
                    person.summary, person.parts = _joined(person.summary, here), [*person.parts, (index, tracklet.id)]
                else:
                    person = Person(here, [(index, tracklet.id)])
                    people.append(person)
                ending[stretch].append((tracklet, person))
    return people


def _by_stretch(tracklets: list[Summary]) -> dict[int, list[Summary]]:
    found: dict[int, list[Summary]] = {}
    for tracklet in tracklets:
        found.setdefault(stretch_of(tracklet.id), []).append(tracklet)
    return found


def _same(before: list[Summary], after: list[Summary]) -> dict[int, int]:
    """For tracklets of a stretch the one of the stretch before that is the same person: index to index."""
    if not before or not after:
        return {}
    alike = np.array([[_overlap(a.tail, b.head) * (a.track == b.track) for b in after] for a in before])
    return {b: a for a, b in cheapest_pairs(-alike) if alike[a, b] >= _SAME}


def _overlap(tail: list[list[float]], head: list[list[float]]) -> float:
    """Mean intersection over union at the moments in which both stand; 0 where there is none."""
    ours, theirs = ({line[0]: line[1:] for line in lines} for lines in (tail, head))
    common = sorted(ours.keys() & theirs.keys())
    if not common:
        return 0.0
    return float(np.mean([iou(np.array([ours[time]]), np.array([theirs[time]]))[0, 0] for time in common]))


def _joined(a: Summary, b: Summary) -> Summary:
    return Summary(a.id, a.first, b.last, a.rows + b.rows, a.area + b.area, a.x + b.x, a.colours + b.colours, track=a.track)
