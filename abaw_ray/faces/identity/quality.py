"""A picture and five landmarks -> whether an embedding of the face is reliable, and how good it is.

Small, dark, blurred and turned faces of different people resemble each other more than one person's good faces do, so they are left out. Each
criterion is a number with a threshold in ``VoteConfig``.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.faces.identity.config import VoteConfig
from abaw_ray.media.frame import Frame
from abaw_ray.media.square_crop import clip_square

_TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
"""Landmarks in an aligned face of 112 x 112 pixels. Source: Deng et al., "ArcFace", CVPR 2019; SFace uses the same."""
_INNER = (slice(30, 105), slice(25, 87))
"""Rows and columns of an aligned face that show no hair and no background."""
_REGION_SCALE = 5.0
"""Side of the converted region in units of the distance of eyes or of eyes and mouth: the aligned face needs about 3.5."""
_REGION_PIXELS = 256
"""Maximum side of the converted region: about twice an aligned face."""
_MAX_ASPECT = 1.5
"""Maximum aspect (``VoteConfig.min_aspect``); above it the head is bowed or raised."""
_FULL_EYE_DISTANCE = 35.0
"""Pixels between the eyes of an aligned face: larger faces are no better."""


@dataclass(frozen=True)
class FaceQuality:
    """Measures of one face; ``VoteConfig`` defines them."""

    eye_distance: float
    yaw: float
    aspect: float
    brightness: float
    contrast: float
    sharpness: float

    def accepted(self, config: VoteConfig) -> bool:
        """Return whether the pixels are bright and sharp enough."""
        return self.brightness >= config.min_brightness and self.contrast >= config.min_contrast and self.sharpness >= config.min_sharpness

    @property
    def value(self) -> float:
        """Rank among the faces of one person, 0 to 1: frontal, large and sharp faces first."""
        frontal = max(1 - self.yaw, 0.0) * min(self.aspect, 1.0)
        return frontal * min(self.eye_distance / _FULL_EYE_DISTANCE, 1.0) * min(self.sharpness / 0.1, 1.0)


def measure(rgb: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"], zoom: float = 1.0) -> FaceQuality:
    """Measure a face.

    Args:
        rgb: Upright picture of the face and its surroundings.
        landmarks: x y in pixels of the picture.
        zoom: Pixels of the picture per pixel of the frame; sizes count in pixels of the frame.
    """
    eye_distance, yaw, aspect = pose(landmarks)
    luma = cv2.cvtColor(align(rgb, landmarks), cv2.COLOR_RGB2GRAY)[_INNER]
    contrast = float(luma.std())
    sharpness = float(cv2.Laplacian(luma, cv2.CV_64F).var()) / max(contrast, 1e-3) ** 2
    return FaceQuality(eye_distance / zoom, yaw, aspect, float(luma.mean()), contrast, sharpness)


def is_frontal(landmarks: Float[np.ndarray, "5 2"], config: VoteConfig) -> bool:
    """Return whether the landmarks, in pixels of the frame, are those of a face that is large and frontal enough."""
    distance, yaw, aspect = pose(landmarks)
    return distance >= config.min_eye_distance and yaw <= config.max_yaw and config.min_aspect <= aspect <= _MAX_ASPECT


def pose(landmarks: Float[np.ndarray, "5 2"]) -> tuple[float, float, float]:
    """Return the distance of the eyes in pixels, the yaw and the aspect of ``VoteConfig``."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    axis = landmarks[1] - landmarks[0]
    distance = max(float(np.linalg.norm(axis)), 1e-6)
    yaw = abs(float((landmarks[2] - eyes) @ axis)) / distance**2
    return distance, yaw, distance / max(float(np.linalg.norm(mouth - eyes)), 1e-6)


def align(rgb: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "5 2"]) -> UInt8[np.ndarray, "112 112 3"]:
    """Return the face rotated, scaled and shifted to the template: the similarity transform of least squares (Umeyama 1991)."""
    source, target = landmarks - landmarks.mean(axis=0), _TEMPLATE - _TEMPLATE.mean(axis=0)
    a = float((source * target).sum())
    b = float((source[:, 0] * target[:, 1] - source[:, 1] * target[:, 0]).sum())
    matrix = np.array([[a, -b], [b, a]]) / max(float((source**2).sum()), 1e-6)
    shift = _TEMPLATE.mean(axis=0) - matrix @ landmarks.mean(axis=0)
    return cv2.warpAffine(rgb, np.column_stack([matrix, shift]), (112, 112), flags=cv2.INTER_LINEAR)


def face_region(frame: Frame, landmarks: Float[np.ndarray, "5 2"]) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Return the part of a frame around a face in RGB, the landmarks in it, and its pixels per pixel of the frame; None outside of the frame.

    Only this part is converted, and large faces are shrunk: their embedding needs 112 pixels.
    """
    distance, _, aspect = pose(landmarks)
    side = max(round(_REGION_SCALE * distance * max(1.0, 1 / max(aspect, 0.2))), 8)
    left, top = np.round(landmarks.mean(axis=0) - side / 2).astype(int).tolist()
    x0, y0, x1, y1 = clip_square(left, top, side, frame.width, frame.height)
    if x1 - x0 < 8 or y1 - y0 < 8:
        return None
    zoom = min(_REGION_PIXELS / side, 1.0)
    size = None if zoom == 1 else (max(round((x1 - x0) * zoom / 2) * 2, 2), max(round((y1 - y0) * zoom / 2) * 2, 2))
    rgb = frame.crop(x0, y0, x1 - x0, y1 - y0, size)
    scale = np.array([rgb.shape[1] / (x1 - x0), rgb.shape[0] / (y1 - y0)])
    return rgb, (landmarks - [x0, y0]) * scale, zoom
