"""A detector for synthetic videos, for test processes and their child processes."""

import cv2
import numpy as np

from abaw_ray.faces.detection.detect import Face


def red_squares(rgb, min_size):
    """Detect every red square as a face; the more green in the red, the lower the score."""
    red = ((rgb[..., 0] > 150) & (rgb[..., 2] < 90)).astype(np.uint8)
    count, _labels, stats, _centers = cv2.connectedComponentsWithStats(red)
    faces = []
    for x, y, w, h, size in stats[1:count]:
        if max(w, h) >= max(min_size, 6) and size > 0.6 * w * h:
            green = np.median(rgb[y : y + h, x : x + w, 1])
            faces.append(Face(np.array([x, y, x + w, y + h], dtype=float), float(np.clip(1 - green / 200, 0.01, 0.99))))
    return sorted(faces, key=lambda face: -face.score)
