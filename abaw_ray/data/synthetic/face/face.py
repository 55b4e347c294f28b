"""Renders a head into an image: projects, places and shades the shapes of ``shapes.py``.

One head takes about a millisecond at a face width of 80 pixels. ``camera.py`` adds background, lighting and camera.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.data.synthetic.face.identity import Identity
from abaw_ray.data.synthetic.face.shapes import CROWN, EYES, Fold, Shape, back_layer, beard, face_outline, facial_features, front_layer, scale_color

_SHIFT = 4
"""Fractional bits of the pixel coordinates of OpenCV's polygons (argument ``shift``)."""
_GRID = 20
"""Pixels of the shading map per half face width."""
_HALF_EXTENT = (1.3, 1.6)
"""Half width and half height of the shading map, in half face widths."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Position and orientation of a head."""

    x: float
    y: float
    """Center of the face in image pixels."""
    size: float
    """Half the width of the face in pixels."""
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    """Radians; positive yaw turns the face to the right of the image, positive pitch down."""
    gaze: tuple[float, float] = (0.0, 0.0)
    """Gaze direction, horizontal and vertical, -1..1."""

    def project(self, points: Float[np.ndarray, "n 2"], *, turned: bool = True) -> Float[np.ndarray, "n 2"]:
        """Image pixels of points on the face; ``turned=False`` for outlines, to which only roll is applied."""
        x, y = points[:, 0], points[:, 1]
        if turned:
            depth = 0.75 * np.sqrt(np.maximum(1.1 - x**2 - (y / 1.4) ** 2, 0.02))
            x = x * np.cos(self.yaw) + depth * np.sin(self.yaw)
            y = y * np.cos(self.pitch) + depth * np.sin(self.pitch)
        cos, sin = np.cos(self.roll) * self.size, np.sin(self.roll) * self.size
        return np.stack([self.x + cos * x - sin * y, self.y + sin * x + cos * y], axis=1)


def face_box(identity: Identity, pose: Pose) -> tuple[float, float, float, float]:
    """The square x0, y0, x1, y1 in pixels in which OpenCV's frontal-face cascade detects this face, on average."""
    x, y = pose.project(np.array([[0.02, 0.07 * identity.height]]), turned=False)[0]
    half = 1.2 * pose.size
    return float(x - half), float(y - half), float(x + half), float(y + half)


def shading(identity: Identity) -> UInt8[np.ndarray, "h w"]:
    """Shading map of a frontal face: a factor in units of 1/128, low in the eye sockets, high on cheeks and bridge of the nose."""
    y, x = np.mgrid[-_HALF_EXTENT[1] : _HALF_EXTENT[1] : 1 / _GRID, -_HALF_EXTENT[0] : _HALF_EXTENT[0] : 1 / _GRID]
    h = identity.height

    def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        """A Gaussian around ``(cx, cy)`` and its mirror image."""
        return np.exp(-0.5 * (((np.abs(x) - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))

    light = 0.1 * spot(0, -0.75, 0.45, 0.18) + 0.2 * spot(0.48, 0.2, 0.19, 0.16) + 0.22 * spot(0, 0.05, 0.07, 0.2)
    light += 0.16 * spot(0, identity.nose_y - 0.08, 0.09, 0.07) + 0.1 * spot(0, h - 0.22, 0.16, 0.1) + 0.05 * spot(0.36, EYES - 0.3, 0.2, 0.05)
    dark = 0.4 * spot(identity.eye_x - 0.02, EYES - 0.05, 0.24, 0.15) + 0.2 * spot(0.16, 0.05, 0.06, 0.2) + 0.26 * spot(0, EYES - 0.02, 0.3, 0.05)
    dark += 0.24 * spot(0, identity.nose_y + 0.07, 0.15, 0.05) + 0.16 * spot(0, identity.mouth_y + 0.19, 0.2, 0.05)
    dark += 0.3 * np.clip((x**2 + (y / h) ** 2) ** 2, 0, 1.6) + 0.1 * spot(0.72, 0.45, 0.12, 0.25)
    return np.clip(128 * (1 + identity.relief * (light - dark)), 20, 255).astype(np.uint8)


class Head:
    """Renderer of one identity's head."""

    def __init__(self, identity: Identity) -> None:
        self.identity, self.shade = identity, shading(identity)
        self.back_layer, self.front_layer = back_layer(identity), front_layer(identity)

    def render(self, image: UInt8[np.ndarray, "h w 3"], pose: Pose, activation: Float[np.ndarray, " units"]) -> None:
        """Render body and head into an RGB image, in place; parts outside the image are clipped.

        Args:
            image: RGB.
            pose: Position and orientation of the head.
            activation: Activation of each action unit, including the resting activation.
        """
        identity = self.identity
        _fill(image, self._body(), pose, turned=False)
        bounds = np.array([[-1.35, CROWN - 0.3], [1.35, CROWN - 0.3], [1.35, 1.75], [-1.35, 1.75]])
        corners = pose.project(bounds, turned=False)
        start = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
        stop = np.minimum(np.ceil(corners.max(axis=0)).astype(int), (image.shape[1], image.shape[0]))
        if (stop - start < 2).any():
            return
        region = image[start[1] : stop[1], start[0] : stop[0]]
        local_pose = Pose(x=pose.x - start[0], y=pose.y - start[1], size=pose.size, roll=pose.roll, yaw=pose.yaw, pitch=pose.pitch, gaze=pose.gaze)
        region = np.ascontiguousarray(region)
        outline = face_outline(identity, activation)
        _fill(region, [*self.back_layer, Shape(outline, identity.skin)], local_pose, turned=False)
        _fill(region, beard(identity, activation), local_pose)
        shapes, folds = facial_features(identity, activation, pose.gaze)
        self._shade(region, local_pose, outline, folds)
        _fill(region, shapes, local_pose)
        _fill(region, self.front_layer, local_pose, turned=False)
        image[start[1] : stop[1], start[0] : stop[0]] = region

    def _body(self) -> list[Shape]:
        """Neck and shoulders."""
        shirt, skin = self.identity.shirt, scale_color(self.identity.skin, 0.72)
        shoulders = np.array([[-0.5, 1.45], [-1.2, 1.62], [-1.9, 2.0], [-2.6, 9.0], [2.6, 9.0], [1.9, 2.0], [1.2, 1.62], [0.5, 1.45]])
        neck = np.array([[-0.55, 0.5], [0.55, 0.5], [0.58, 1.5], [0, 1.85], [-0.58, 1.5]])
        return [Shape(shoulders, shirt), Shape(neck, skin)]

    def _shade(self, region: np.ndarray, pose: Pose, outline: np.ndarray, folds: list[Fold]) -> None:
        """Multiply the pixels inside the outline by the shading map and darken the folds, in place."""
        size = (region.shape[1], region.shape[0])
        anchors = np.array([[-0.6, EYES], [0.6, EYES], [0.0, 0.8]], dtype=np.float32)
        matrix = cv2.getAffineTransform(((anchors + _HALF_EXTENT) * _GRID).astype(np.float32), pose.project(anchors).astype(np.float32))
        shade = cv2.warpAffine(self.shade, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        crease = np.full(region.shape[:2], 128, np.uint8)
        for fold in folds:
            if fold.depth > 0.05:
                points = np.round(pose.project(fold.points) * (1 << _SHIFT)).astype(np.int32)
                width = max(1, round(fold.width * pose.size))
                cv2.polylines(crease, [points], False, 128 * (1 - 0.6 * min(fold.depth, 1.0)), width, cv2.LINE_AA, _SHIFT)
        crease = cv2.GaussianBlur(crease, (0, 0), max(0.035 * pose.size, 0.5))
        shade = cv2.multiply(shade, crease, scale=1 / 128)
        mask = np.full(region.shape[:2], 128, np.uint8)
        inside = np.zeros(region.shape[:2], np.uint8)
        cv2.fillPoly(inside, [np.round(pose.project(outline, turned=False) * (1 << _SHIFT)).astype(np.int32)], 255, cv2.LINE_8, _SHIFT)
        cv2.copyTo(shade, inside, mask)
        cv2.multiply(region, cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB), region, scale=1 / 128)


def _fill(image: np.ndarray, shapes: list[Shape], pose: Pose, *, turned: bool = True) -> None:
    """Project all points in one call (one call per shape would take longer than filling) and fill the polygons in order."""
    if not shapes:
        return
    points = np.concatenate([shape.points for shape in shapes])
    pixels = np.round(pose.project(points, turned=turned) * (1 << _SHIFT)).astype(np.int32)
    ends = np.cumsum([len(shape.points) for shape in shapes])[:-1]
    for polygon, shape in zip(np.split(pixels, ends), shapes, strict=True):
        cv2.fillPoly(image, [polygon], shape.color, cv2.LINE_AA, _SHIFT)
