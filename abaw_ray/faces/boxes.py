"""Boxes as numbers: overlap, distance, size, the box between two others, and which goes with which. Nothing here knows of pictures or people.

A box is ``x0 y0 x1 y1`` in pixels of the upright picture, x to the right, y down; it may leave the picture.
"""

import numpy as np
from jaxtyping import Float


def area(boxes: Float[np.ndarray, "*boxes 4"]) -> Float[np.ndarray, "*boxes"]:
    """Square pixels; 0 for a box whose sides are turned round."""
    return np.asarray(np.clip(boxes[..., 2] - boxes[..., 0], 0, None) * np.clip(boxes[..., 3] - boxes[..., 1], 0, None))


def centre(boxes: Float[np.ndarray, "*boxes 4"]) -> Float[np.ndarray, "*boxes 2"]:
    """Middle point, x y."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def side(boxes: Float[np.ndarray, "*boxes 4"]) -> Float[np.ndarray, "*boxes"]:
    """The longer side in pixels."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).max(axis=-1))


def iou(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Intersection over union of each of ``a`` with each of ``b``, 0 to 1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = area(np.concatenate([low, high], axis=-1))
    union = area(a)[:, None] + area(b)[None, :] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def distance(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Distance of centres in units of the mean longer side of the two."""
    apart = np.linalg.norm(centre(a)[:, None] - centre(b)[None, :], axis=-1)
    return apart / np.maximum((side(a)[:, None] + side(b)[None, :]) / 2, 1e-9)


def ratio(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """How many times the larger of two boxes is as large as the smaller, by longer side; at least 1."""
    return np.exp(np.abs(np.log(np.maximum(side(a), 1e-9))[:, None] - np.log(np.maximum(side(b), 1e-9))[None, :]))


def between(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """The point, box or set of points that lies at ``share`` of the way from ``a`` (0) to ``b`` (1)."""
    return a + (b - a) * share


def cheapest_pairs(cost: Float[np.ndarray, "a b"]) -> list[tuple[int, int]]:
    """The pairs of indices, as many as there can be and none twice, whose costs have the smallest sum.

    Args:
        cost: Of each ``a`` with each ``b``; neither is empty.
    """
    if min(cost.shape) == 1:  # one face, as in most videos: no reason to load a library for half a second in every process
        first, second = np.unravel_index(cost.argmin(), cost.shape)
        return [(int(first), int(second))]
    from scipy.optimize import linear_sum_assignment

    return [(int(a), int(b)) for a, b in zip(*linear_sum_assignment(cost), strict=True)]


def best(boxes: Float[np.ndarray, "boxes 4"], scores: Float[np.ndarray, " boxes"], *, overlap: float) -> list[int]:
    """Indices of boxes to keep where several show the same face: the best score of each heap, best first.

    Source: non-maximum suppression, written out; there are a handful of boxes.
    """
    kept: list[int] = []
    shared = iou(boxes, boxes)
    for index in np.argsort(-scores, kind="stable"):
        if all(shared[index, other] <= overlap for other in kept):
            kept.append(int(index))
    return kept
