"""Identity and action unit activations -> flat colored shapes and skin folds of a face.

Lengths are in half face widths, x to the right and y down, the center of the face at (0, 0). ``face.py`` applies pose, position and shading.
"""

from dataclasses import dataclass

import numpy as np

from abaw_ray.data.synthetic.face.action_units import UNIT_INDEX
from abaw_ray.data.synthetic.face.identity import Color, Identity
from abaw_ray.data.synthetic.face.mouth import mouth

EYES = -0.16
"""Height of the eye line."""
CROWN = -1.22
"""Top of the skull."""

_ARC = np.linspace(0, 2 * np.pi, 60, endpoint=False)
_RING = np.stack([np.cos(_ARC[::4]), np.sin(_ARC[::4])], axis=1)
_LID = np.linspace(-1, 1, 9)
_BROW = np.linspace(0, 1, 7)


@dataclass(frozen=True)
class Shape:
    """One filled polygon."""

    points: np.ndarray
    color: Color


@dataclass(frozen=True)
class Fold:
    """A crease of the skin, rendered darker and blurred."""

    points: np.ndarray
    depth: float
    """Darkness, 0 invisible to 1."""
    width: float = 0.05


def scale_color(color: Color, factor: float) -> Color:
    """The color multiplied by a factor."""
    return color[0] * factor, color[1] * factor, color[2] * factor


def ribbon(points: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Outline of a stroke along the points; ``widths`` has its full width at each point."""
    along = np.gradient(points, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(np.hypot(*along.T), 1e-6)[:, None]
    offset = across * widths[:, None] / 2
    return np.concatenate([points + offset, (points - offset)[::-1]])


def face_outline(identity: Identity, activation: np.ndarray) -> np.ndarray:
    """Outline of the face, from the right ear over the chin and the left ear to the crown."""
    exponent = np.log(identity.jaw) / np.log(np.cos(np.arcsin(identity.mouth_y / identity.height)))
    cos, sin = np.cos(_ARC), np.sin(_ARC)
    is_lower = sin > 0
    x = np.where(is_lower, np.sign(cos) * np.abs(cos) ** np.clip(exponent, 0.8, 2.2), cos)
    y = np.where(is_lower, identity.height * sin, -CROWN * sin)
    y = y + np.where(is_lower, 0.2 * max(activation[UNIT_INDEX["jaw"]], 0) * sin**2, 0)
    x = x * (1 + 0.13 * activation[UNIT_INDEX["puff"]] * np.exp(-(((y - 0.5) / 0.35) ** 2)))
    return np.stack([x, y], axis=1)


def back_layer(identity: Identity) -> list[Shape]:
    """Hair behind the head, and the ears."""
    ears = [Shape(_RING * (0.13, 0.24) + (side * 1.0, -0.05), scale_color(identity.skin, 0.82)) for side in (-1, 1)]
    if identity.fringe == 0:
        return ears
    hair = _RING * (1.1, 1.22 + 0.12) + (0, -0.12)
    hair[:, 1] = np.where(hair[:, 1] > 0, hair[:, 1] * (0.35 + identity.long_hair), hair[:, 1])
    hair[:, 0] *= np.where(hair[:, 1] > 0, 1 + 0.12 * identity.long_hair, 1)
    return [Shape(hair, scale_color(identity.hair, 0.8)), *ears] if identity.long_hair == 0 else [*ears, Shape(hair, scale_color(identity.hair, 0.8))]


def facial_features(identity: Identity, activation: np.ndarray, gaze: tuple[float, float]) -> tuple[list[Shape], list[Fold]]:
    """Shapes of eyes, brows, nose and mouth, and the folds that the action units produce."""
    shapes, folds = [], _folds(identity, activation)
    for side in (-1, 1):
        shapes += _eye(identity, activation, side, gaze)
        shapes.append(_brow(identity, activation, side))
    shapes += _nose(identity, activation)
    lips, creases = mouth(identity, activation)
    shapes += [Shape(points, color) for points, color in lips]
    folds += [Fold(points, depth) for points, depth in creases]
    return shapes, folds


def beard(identity: Identity, activation: np.ndarray) -> list[Shape]:
    """Shapes of beard and mustache; they are shaded like skin."""
    shapes = []
    colors = [np.array(identity.skin) * (1 - opacity) + 0.75 * np.array(identity.hair) * opacity for opacity in (identity.beard, identity.mustache)]
    if identity.beard > 0:
        outline = face_outline(identity, activation)
        lower_outline = outline[outline[:, 1] > 0.08]
        along = (lower_outline[:, 1] - 0.08) / (lower_outline[:, 1].max() - 0.08)
        inner = lower_outline * np.stack([0.93 - 0.5 * along, np.ones(len(lower_outline))], axis=1) - np.stack([0 * along, 0.3 * along], axis=1)
        shapes.append(Shape(np.concatenate([lower_outline * 0.99, inner[::-1]]), tuple(colors[0])))
    if identity.mustache > 0:
        u = np.linspace(-1, 1, 9)
        line = np.stack([0.3 * u, identity.mouth_y - 0.15 - 0.05 * activation[UNIT_INDEX["lip_up"]] + 0.07 * u**2], axis=1)
        shapes.append(Shape(ribbon(line, 0.03 + 0.07 * (1 - u**2)), tuple(colors[1])))
    return shapes


def front_layer(identity: Identity) -> list[Shape]:
    """Shapes in front of the face: fringe and glasses."""
    shapes = []
    if identity.fringe > 0:
        u = np.linspace(-1, 1, 25)
        top = np.stack([1.04 * u, CROWN * 1.1 * np.sqrt(1 - (0.96 * u) ** 2) - 0.02], axis=1)
        line = CROWN + 0.2 + 0.42 * identity.fringe * (1 - 0.35 * np.abs(u - identity.parting)) + 0.5 * np.abs(u) ** 4
        shapes.append(Shape(np.concatenate([top, np.stack([1.04 * u, line], axis=1)[::-1]]), identity.hair))
    if identity.glasses > 0:
        closed = np.concatenate([_RING, _RING[:1]])
        width = np.full(len(closed), 0.03)
        for side in (-1, 1):
            rim = closed * (identity.glasses, identity.glasses * 0.82) + (side * identity.eye_x, EYES + 0.02)
            shapes.append(Shape(ribbon(rim, width), (58, 52, 50)))
        inner, outer = identity.eye_x - identity.glasses, identity.eye_x + identity.glasses
        for a, b in ((-inner, inner), (-1.0, -outer), (outer, 1.0)):
            shapes.append(Shape(ribbon(np.array([[a, EYES - 0.04], [b, EYES - 0.04]]), np.full(2, 0.03)), (58, 52, 50)))
    return shapes


def _eye(identity: Identity, activation: np.ndarray, side: int, gaze: tuple[float, float]) -> list[Shape]:
    size, wink = identity.eye_size, activation[UNIT_INDEX["wink"]] * side
    shut = float(np.clip(max(wink, activation[UNIT_INDEX["shut"]]), 0, 1))
    upper = 0.125 * size * max(1 + 0.85 * activation[UNIT_INDEX["lid_up"]] - 0.2 * activation[UNIT_INDEX["lid_low"]], 0.06) * (1 - shut)
    lower = 0.08 * size * (1 - 0.7 * np.clip(activation[UNIT_INDEX["lid_low"]], 0, 1)) * (1 - 0.8 * shut)
    x = 0.235 * size * _LID
    bow = 1 - _LID**2
    center = np.array([side * identity.eye_x, EYES + 0.02 * shut])
    tilt = -identity.eye_tilt * side * _LID
    top, bottom = np.stack([x, tilt - upper * bow**0.8], 1), np.stack([x, tilt + lower * bow], 1)
    white = np.concatenate([top, bottom[::-1]]) + center
    red, green, blue = identity.skin
    shapes = [Shape(white, (0.4 * red + 92, 0.4 * green + 92, 0.4 * blue + 92))]
    for radius, color in ((0.108, identity.iris), (0.052, (18, 14, 14))):
        disc = _RING * radius * size + (0.06 * gaze[0], 0.03 * gaze[1] - 0.008)
        disc[:, 1] = np.clip(disc[:, 1], np.interp(disc[:, 0], x, top[:, 1]), np.interp(disc[:, 0], x, bottom[:, 1]))
        shapes.append(Shape(disc + center, color))
    if upper > 0.05:
        shapes.append(Shape(_RING * 0.018 + (0.06 * gaze[0] - 0.03, 0.03 * gaze[1] - 0.03) + center, (245, 245, 245)))
    lash = scale_color(identity.skin, 0.3)
    shapes.append(Shape(ribbon(top + center, 0.025 + 0.045 * bow), lash))
    shapes.append(Shape(ribbon(bottom + center, 0.008 + 0.012 * bow), scale_color(identity.skin, 0.62)))
    return shapes


def _brow(identity: Identity, activation: np.ndarray, side: int) -> Shape:
    t, frown = _BROW, activation[UNIT_INDEX["frown"]]
    lift = 0.2 * (activation[UNIT_INDEX["brow_in"]] * (1 - t) ** 1.2 + activation[UNIT_INDEX["brow_out"]] * t**1.2) + 0.05 * np.sin(np.pi * t)
    lift = lift + 0.24 * max(activation[UNIT_INDEX["brow_side"]] * side, 0) * np.sin(np.pi * (0.2 + 0.6 * t))
    y = EYES - identity.brow_y - lift + 0.15 * frown * (1 - t) ** 1.1
    x = side * (0.17 - 0.06 * frown + 0.54 * t)
    width = identity.brow_width * (0.07 + 0.035 * np.sin(np.pi * t**0.7) - 0.045 * t)
    return Shape(ribbon(np.stack([x, y], axis=1), width), scale_color(identity.hair, 0.7))


def _nose(identity: Identity, activation: np.ndarray) -> list[Shape]:
    up = 0.05 * activation[UNIT_INDEX["nose"]]
    dark = scale_color(identity.skin, 0.42)
    wide = 0.1 * identity.nose_width * (1 + 0.25 * activation[UNIT_INDEX["nose"]])
    holes = [Shape(_RING * (0.05, 0.026) + (side * wide, identity.nose_y - up), dark) for side in (-1, 1)]
    under = np.array([[-0.8 * wide, 0.02], [0.0, 0.035], [0.8 * wide, 0.02]]) + (0, identity.nose_y - up * 0.5)
    return [*holes, Shape(ribbon(under, np.array([0.01, 0.02, 0.01])), scale_color(identity.skin, 0.6))]


def _folds(identity: Identity, activation: np.ndarray) -> list[Fold]:
    activations = {name: max(float(activation[index]), 0.0) for name, index in UNIT_INDEX.items()}
    folds = [Fold(np.array([[x, -0.5], [x * 0.8, -0.34]]), 0.8 * activations["frown"], 0.03) for x in (-0.06, 0.06)]
    raised = max(0.5 * float(activation[UNIT_INDEX["brow_in"]] + activation[UNIT_INDEX["brow_out"]]), 0.6 * activations["brow_in"])
    folds += [Fold(np.array([[-0.45, y + 0.02], [0, y], [0.45, y + 0.02]]), 0.5 * raised, 0.025) for y in (-0.8, -0.7)]
    folds += [Fold(np.array([[-0.12, y + 0.03], [0, y], [0.12, y + 0.03]]), activations["nose"]) for y in (-0.14, -0.04)]
    cheek = max(activations["cheek"], 0.6 * activations["nose"], 0.5 * activations["corner"])
    for side in (-1, 1):
        depth = max(cheek, float(activation[UNIT_INDEX["side"]]) * side)
        smile_line = np.array([[0.19, identity.nose_y - 0.08], [0.33, identity.nose_y + 0.1], [0.44, identity.mouth_y - 0.08]]) * (side, 1)
        folds.append(Fold(smile_line, depth))
        bag = np.array([[0.22, EYES + 0.13], [0.4, EYES + 0.17], [0.58, EYES + 0.12]]) * (side, 1)
        folds.append(Fold(bag, 0.7 * max(activations["lid_low"], activations["cheek"])))
        crease = np.array([[0.24, EYES - 0.1], [0.4, EYES - 0.17], [0.56, EYES - 0.11]]) * (side, 1)
        folds.append(Fold(crease, 0.45 + 0.3 * activations["lid_up"], 0.05))
    return folds
