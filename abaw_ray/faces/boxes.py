"""Geometry of bounding boxes: IoU, center distance, size ratio, interpolation, matching and non-maximum suppression.

A box is ``x0 y0 x1 y1`` in pixels of the upright frame, x to the right, y down; it may extend beyond the frame.
"""

import numpy as np
from jaxtyping import Float


def area(boxes: Float[np.ndarray, "*boxes 4"]) -> Float[np.ndarray, "*boxes"]:
    """Return areas in square pixels; 0 for a box with x1 < x0 or y1 < y0."""
    return np.asarray(np.clip(boxes[..., 2] - boxes[..., 0], 0, None) * np.clip(boxes[..., 3] - boxes[..., 1], 0, None))


def center(boxes: Float[np.ndarray, "*boxes 4"]) -> Float[np.ndarray, "*boxes 2"]:
    """Return center points, x y."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def longer_side(boxes: Float[np.ndarray, "*boxes 4"]) -> Float[np.ndarray, "*boxes"]:
    """Return the longer side of each box in pixels."""
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).max(axis=-1))


def iou(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Return the intersection over union of each of ``a`` with each of ``b``, 0 to 1."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = area(np.concatenate([low, high], axis=-1))
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def center_distance(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Return the distance of centers in units of the mean longer side of the two boxes."""
    distance = np.linalg.norm(center(a)[:, None] - center(b)[None, :], axis=-1)
    return distance / np.maximum((longer_side(a)[:, None] + longer_side(b)[None, :]) / 2, 1e-9)


def size_ratio(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Return the longer side of the larger box over that of the smaller box; at least 1."""
    return np.exp(np.abs(np.log(np.maximum(longer_side(a), 1e-9))[:, None] - np.log(np.maximum(longer_side(b), 1e-9))[None, :]))


def lerp(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    """Return the linear interpolation of boxes or points: ``a`` at weight 0, ``b`` at weight 1."""
    return a + (b - a) * weight


def min_cost_assignment(cost: Float[np.ndarray, "a b"]) -> list[tuple[int, int]]:
    """Return the assignment of least total cost as index pairs; every row or every column is assigned.

    Args:
        cost: Cost of each pair; neither dimension is empty.
    """
    if min(cost.shape) == 1:  # one face, as in most videos: loading scipy would cost half a second in every process
        first, second = np.unravel_index(cost.argmin(), cost.shape)
        return [(int(first), int(second))]
    from scipy.optimize import linear_sum_assignment

    return [(int(a), int(b)) for a, b in zip(*linear_sum_assignment(cost), strict=True)]


def nms(boxes: Float[np.ndarray, "boxes 4"], scores: Float[np.ndarray, " boxes"], *, iou_threshold: float) -> list[int]:
    """Return the indices of the boxes kept by non-maximum suppression, highest score first.

    Source: greedy non-maximum suppression; quadratic, which is fast for a handful of boxes.
    """
    kept: list[int] = []
    overlaps = iou(boxes, boxes)
    for index in np.argsort(-scores, kind="stable"):
        if all(overlaps[index, other] <= iou_threshold for other in kept):
            kept.append(int(index))
    return kept
