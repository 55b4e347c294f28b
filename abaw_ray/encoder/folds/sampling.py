"""Which annotated frames become images of Stage I: a number for each subject and class, and frames spread over the video.

Both depend on annotations and times alone, never on the number of workers.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64, Int, Int8

from abaw_ray.core.expressions import EXPRESSIONS


def image_quotas(labels: Mapping[str, Int8[np.ndarray, " rows"]], classes: Sequence[str], images: int) -> dict[str, dict[str, int]]:
    """Subject -> expression -> largest number of its images.

    Every expression of the classes that occurs gets an equal part of the images; within it, every subject gets the same number, or all of its frames
    where it has fewer. The sum over all subjects is at most ``images``; less where an expression has too few frames.

    Args:
        labels: Annotation of each subject, -1 where unlabelled.
        classes: Names of the encoder's classes; other expressions get nothing.
        images: Number of images over all subjects.
    """
    counts = {name: np.bincount(rows[rows >= 0], minlength=len(EXPRESSIONS)) for name, rows in labels.items()}
    used = [index for index, name in enumerate(EXPRESSIONS) if name in classes and any(count[index] for count in counts.values())]
    quotas: dict[str, dict[str, int]] = {name: {} for name in labels}
    for index in used:
        of_class = {name: int(count[index]) for name, count in counts.items() if count[index]}
        for name, quota in _equal_parts(of_class, images // len(used)).items():
            quotas[name][EXPRESSIONS[index]] = quota
    return quotas


def _equal_parts(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """The same number for each name as far as it has as many; what the smaller ones leave goes to the others."""
    parts: dict[str, int] = {}
    names = sorted(counts, key=lambda name: (counts[name], name))
    for position, name in enumerate(names):
        parts[name] = min(counts[name], (total - sum(parts.values())) // (len(names) - position))
    return parts


def spread_frames(times: Float64[np.ndarray, " frames"], interval_s: float, quota: int) -> Int[np.ndarray, " chosen"]:
    """Indices of at most ``quota`` frames that are at least ``interval_s`` apart, spread evenly over the frames; ascending.

    Args:
        times: Presentation times in seconds, ascending.
        interval_s: Shortest time between two chosen frames in seconds, compared in whole microseconds.
        quota: Largest number of frames.
    """
    microseconds, interval = np.rint(times * 1e6).astype(np.int64), max(round(interval_s * 1e6), 1)
    apart, at = [], 0
    while at < len(microseconds):
        apart.append(at)
        at = max(int(np.searchsorted(microseconds, microseconds[at] + interval)), at + 1)
    chosen = np.array(apart, dtype=np.int64)
    if len(chosen) <= quota:
        return chosen
    return chosen[((np.arange(quota) + 0.5) * len(chosen) / quota).astype(np.int64)]
