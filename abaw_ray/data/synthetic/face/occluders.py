"""Occluders of a face: a hand, a mask over nose and mouth, a bar across the image."""

import cv2
import numpy as np
from jaxtyping import UInt8

from abaw_ray.data.synthetic.face.face import Pose
from abaw_ray.data.synthetic.face.identity import Color, Identity
from abaw_ray.data.synthetic.face.shapes import scale_color

OCCLUDERS: tuple[str, ...] = ("hand", "mask", "bar")
"""Names of the occluders."""

_RING = np.stack([np.cos(np.linspace(0, 2 * np.pi, 24)), np.sin(np.linspace(0, 2 * np.pi, 24))], axis=1)


def render_occluder(image: UInt8[np.ndarray, "h w 3"], kind: str, identity: Identity, pose: Pose, shift: tuple[float, float], color: Color) -> None:
    """Render an occluder over a face, in place.

    Args:
        image: RGB, with the face rendered.
        kind: One of ``OCCLUDERS``.
        identity: The subject; the hand has its skin color.
        pose: Pose of the head.
        shift: Offset of the occluder from the face, in half face widths.
        color: Color of bar or mask.
    """
    if kind == "hand":
        _hand(image, identity, pose, shift)
    elif kind == "mask":
        points = np.array([[-0.98, 0.1], [-0.5, 0.2], [0, 0.08], [0.5, 0.2], [0.98, 0.1], [0.75, 0.8], [0.4, 1.15], [-0.4, 1.15], [-0.75, 0.8]])
        _fill(image, points + (0, 0.1 * shift[1]), pose, color)
    elif kind == "bar":
        x = pose.x + pose.size * (0.45 if shift[0] > 0 else -0.45) + pose.size * shift[0]
        half = 0.75 * pose.size
        cv2.rectangle(image, (round(x - half), 0), (round(x + half), image.shape[0]), color, -1)
    else:
        raise ValueError(f"unknown occluder '{kind}'; choose one of {', '.join(OCCLUDERS)}")


def _hand(image: np.ndarray, identity: Identity, pose: Pose, shift: tuple[float, float]) -> None:
    """Four fingers and a palm over mouth and nose."""
    side = 1 if shift[0] > 0 else -1
    for number in range(4):
        finger = _RING * (0.62, 0.13) + (0, 0)
        finger = finger + (-0.1 * side + shift[0] * 0.3, 0.28 + 0.23 * number + shift[1] * 0.3)
        _fill(image, finger, pose, scale_color(identity.skin, 0.92 - 0.07 * (number % 2)))
    palm = _RING * (0.5, 0.62) + (0.75 * side + shift[0] * 0.3, 0.75 + shift[1] * 0.3)
    _fill(image, palm, pose, scale_color(identity.skin, 0.88))


def _fill(image: np.ndarray, points: np.ndarray, pose: Pose, color: Color) -> None:
    pixels = np.round(pose.project(points, turned=False) * 16).astype(np.int32)
    cv2.fillPoly(image, [pixels], color, cv2.LINE_AA, 4)
