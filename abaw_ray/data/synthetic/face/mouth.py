"""Shapes of the mouth: lips, opening, teeth and tongue, from an identity and its action unit activations.

Units and axes as in ``shapes.py``.
"""

import numpy as np

from abaw_ray.data.synthetic.face.action_units import UNIT_INDEX
from abaw_ray.data.synthetic.face.identity import Color, Identity

_U = np.linspace(-1, 1, 13)
_BOW = 1 - _U**2
_ARC = np.linspace(0, 2 * np.pi, 14, endpoint=False)

Filled = tuple[np.ndarray, Color]
"""Outline and color."""


def mouth(identity: Identity, activation: np.ndarray) -> tuple[list[Filled], list[tuple[np.ndarray, float]]]:
    """Shapes of the mouth from back to front, and its folds as (points, depth)."""
    x, lip_line = _lip_line(identity, activation)
    above, below = _opening(activation)
    thickness = 1 - 0.8 * np.clip(activation[UNIT_INDEX["press"]], 0, 1)
    pout = 1 + 0.7 * max(activation[UNIT_INDEX["pout"]], 0)
    upper = lip_line - above * _BOW**0.7 - 0.07 * identity.lip * thickness * pout * _BOW**0.6 * (1 - 0.25 * np.exp(-((_U / 0.12) ** 2)))
    lower = lip_line + below * _BOW**0.7 + 0.095 * identity.lip * thickness * pout * _BOW**0.6
    inner_top, inner_low = lip_line - above * _BOW**0.7 - 0.006, lip_line + below * _BOW**0.7 + 0.008
    shapes: list[Filled] = [(_between(x, upper, lower), identity.lips), (_between(x, inner_top, inner_low), (52, 22, 24))]
    gap = above + below
    exposure = max(activation[UNIT_INDEX["teeth"]], 0) + 0.3 * max(activation[UNIT_INDEX["jaw"]] - 0.3, 0)
    if gap > 0.05 and exposure > 0.05:
        shown = min(0.75 * gap, 0.13 * exposure)
        shapes.append((_between(x * 0.92, inner_top + 0.004, np.minimum(inner_top + shown, inner_low)), (232, 228, 218)))
    if gap > 0.2:
        disc = np.stack([0.55 * x[-1] * np.cos(_ARC), np.interp(0, x, lip_line) + below - 0.02 + 0.05 * np.sin(_ARC)], axis=1)
        shapes.append((disc, (150, 72, 74)))
    tongue = max(activation[UNIT_INDEX["tongue"]], 0)
    if tongue > 0.1:
        disc = np.stack([0.12 * np.cos(_ARC), lip_line[6] + below + 0.02 + 0.13 * tongue * (0.4 + np.sin(_ARC))], axis=1)
        shapes.append((disc, (196, 92, 98)))
    chin = np.stack([_U[::3] * 0.22, lower[6] + 0.09 - 0.04 * _BOW[::3] * (1 + 2 * max(-activation[UNIT_INDEX["lip_low"]], 0))], axis=1)
    dents = [
        np.array([[corner_x * 1.04, corner_y - 0.05], [corner_x * 1.12, corner_y + 0.05]])
        for corner_x, corner_y in ((x[0], lip_line[0]), (x[-1], lip_line[-1]))
    ]
    depth = 0.25 + 0.5 * abs(activation[UNIT_INDEX["corner"]])
    return shapes, [(chin, 0.5 + 0.4 * max(-activation[UNIT_INDEX["lip_low"]], 0)), *((dent, depth) for dent in dents)]


def _lip_line(identity: Identity, activation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line between the lips: x and y of points from the left to the right corner."""
    half_width = identity.mouth_width * (
        1 + 0.38 * activation[UNIT_INDEX["wide"]] - 0.2 * max(activation[UNIT_INDEX["pout"]], 0) - 0.08 * max(activation[UNIT_INDEX["jaw"]], 0)
    )
    side = activation[UNIT_INDEX["side"]]
    pulled = np.maximum(np.sign(side) * _U, 0) ** 1.5 * abs(side)
    x = half_width * (_U + 0.22 * np.sign(side) * pulled)
    bend = 0.25 * activation[UNIT_INDEX["corner"]] * (np.abs(_U) ** 1.7 - 0.35) + 0.25 * pulled
    chin = 0.04 * max(-activation[UNIT_INDEX["lip_low"]], 0) + 0.03 * activation[UNIT_INDEX["nose"]]
    return x, identity.mouth_y - bend - chin


def _opening(activation: np.ndarray) -> tuple[float, float]:
    """Distance of the upper and of the lower lip from the line between them, in the middle."""
    jaw, teeth = max(activation[UNIT_INDEX["jaw"]], 0), max(activation[UNIT_INDEX["teeth"]], 0)
    above = 0.05 * jaw + 0.11 * max(activation[UNIT_INDEX["lip_up"]], 0) + 0.025 * teeth
    below = 0.34 * jaw + 0.1 * max(activation[UNIT_INDEX["lip_low"]], 0) + 0.04 * teeth
    return float(above), float(below)


def _between(x: np.ndarray, top: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Outline of the area between two curves."""
    return np.concatenate([np.stack([x, top], axis=1), np.stack([x, low], axis=1)[::-1]])
