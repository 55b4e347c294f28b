"""Synthetic faces with an identity: squares in a red frame, each with a pattern of its own, and a detector that gives their landmarks."""

from functools import lru_cache

import cv2
import numpy as np

from abaw_ray.faces.detection.detect import Face

SIZE = (320, 240)
LANDMARKS = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.36, 0.75], [0.64, 0.75]])
"""In units of the square's side."""


@lru_cache
def picture(person, side=80):
    """The face of a person: coarse blocks of random greens and blues, within a red frame."""
    blocks = np.random.default_rng(person + 1).choice([10, 230], (5, 5, 3)).astype(np.uint8)
    blocks[..., 0] = np.where(blocks[..., 0] > 100, 150, 10)
    rgb = cv2.resize(blocks, (side, side), interpolation=cv2.INTER_NEAREST)
    frame = max(side // 10, 2)
    rgb[:frame], rgb[-frame:], rgb[:, :frame], rgb[:, -frame:] = [(230, 10, 20)] * 4
    return rgb


def render(*faces, room=(110, 120, 130)):
    """A frame with faces ``(person, x, y)`` or ``(person, x, y, side)``, the center in pixels; later ones hide earlier ones."""
    rgb = np.full((SIZE[1], SIZE[0], 3), room, np.uint8)
    rgb[::24, :, 1] += 25
    for person, x, y, *side in faces:
        face = picture(person, *side)
        left, top = round(x - len(face) / 2), round(y - len(face) / 2)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + len(face), SIZE[0]), min(top + len(face), SIZE[1])
        if x1 > x0 and y1 > y0:
            rgb[y0:y1, x0:x1] = face[y0 - top : y1 - top, x0 - left : x1 - left]
    return rgb


def framed_faces(rgb, min_size):
    """Detect every red frame as a face, with landmarks."""
    red = ((rgb[..., 0] > 160) & (rgb[..., 1] < 90) & (rgb[..., 2] < 90)).astype(np.uint8)
    count, _labels, stats, _centers = cv2.connectedComponentsWithStats(red)
    faces = []
    for x, y, w, h, area in stats[1:count].astype(float).tolist():
        if max(w, h) >= max(min_size, 12) and 0.75 < w / h < 1.33 and area > 0.15 * w * h:
            faces.append(Face(np.array([x, y, x + w, y + h]), 0.95, LANDMARKS * [w, h] + [x, y]))
    return faces
