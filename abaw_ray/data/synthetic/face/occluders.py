"""What gets between the camera and a face: a hand, a mask over nose and mouth, a bar across the picture."""

import cv2
import numpy as np
from jaxtyping import UInt8

from abaw_ray.data.synthetic.face.face import Pose
from abaw_ray.data.synthetic.face.people import Colour, Person
from abaw_ray.data.synthetic.face.shapes import times

COVERS: tuple[str, ...] = ("hand", "mask", "bar")
"""Names of the covers."""

_RING = np.stack([np.cos(np.linspace(0, 2 * np.pi, 24)), np.sin(np.linspace(0, 2 * np.pi, 24))], axis=1)


def cover(picture: UInt8[np.ndarray, "h w 3"], kind: str, person: Person, pose: Pose, shift: tuple[float, float], colour: Colour) -> None:
    """Draw a cover over a face, in place.

    Args:
        picture: RGB, with the face drawn.
        kind: One of ``COVERS``.
        person: Whose face it is; the hand has its skin.
        pose: Of the head.
        shift: Of the cover against the face, in half face widths.
        colour: Of bar or mask.
    """
    if kind == "hand":
        _hand(picture, person, pose, shift)
    elif kind == "mask":
        points = np.array([[-0.98, 0.1], [-0.5, 0.2], [0, 0.08], [0.5, 0.2], [0.98, 0.1], [0.75, 0.8], [0.4, 1.15], [-0.4, 1.15], [-0.75, 0.8]])
        _fill(picture, points + (0, 0.1 * shift[1]), pose, colour)
    elif kind == "bar":
        x = pose.x + pose.size * (0.45 if shift[0] > 0 else -0.45) + pose.size * shift[0]
        half = 0.75 * pose.size
        cv2.rectangle(picture, (round(x - half), 0), (round(x + half), picture.shape[0]), colour, -1)
    else:
        raise ValueError(f"unknown cover '{kind}'; there are {', '.join(COVERS)}")


def _hand(picture: np.ndarray, person: Person, pose: Pose, shift: tuple[float, float]) -> None:
    """Four fingers and a palm over mouth and nose."""
    side = 1 if shift[0] > 0 else -1
    for at in range(4):
        finger = _RING * (0.62, 0.13) + (0, 0)
        finger = finger + (-0.1 * side + shift[0] * 0.3, 0.28 + 0.23 * at + shift[1] * 0.3)
        _fill(picture, finger, pose, times(person.skin, 0.92 - 0.07 * (at % 2)))
    palm = _RING * (0.5, 0.62) + (0.75 * side + shift[0] * 0.3, 0.75 + shift[1] * 0.3)
    _fill(picture, palm, pose, times(person.skin, 0.88))


def _fill(picture: np.ndarray, points: np.ndarray, pose: Pose, colour: Colour) -> None:
    pixels = np.round(pose.project(points, turned=False) * 16).astype(np.int32)
    cv2.fillPoly(picture, [pixels], colour, cv2.LINE_AA, 4)
