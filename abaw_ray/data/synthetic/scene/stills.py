"""Renders still images of one identity with one expression, with the faces, lighting and camera of the videos.

AffectNet's images are photographs with a face at some position, RAF-DB's are aligned crops. ``still_lists.py`` writes files and lists.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.action_units import ACTION_UNITS, UNIT_INDEX, sample_activations
from abaw_ray.data.synthetic.face.face import Head, Pose, face_box
from abaw_ray.data.synthetic.face.identity import Identity, make_identity
from abaw_ray.data.synthetic.face.occluders import OCCLUDERS, render_occluder
from abaw_ray.data.synthetic.face.shapes import EYES
from abaw_ray.data.synthetic.scene.camera import Camera, background

PHOTO_SIZE = (160, 160)
"""Width and height in pixels of the images in AffectNet's layout."""
ALIGNED_SIZE = (100, 100)
"""Width and height of RAF-DB's aligned images in pixels."""


@dataclass(frozen=True)
class Still:
    """One rendered image."""

    image: UInt8[np.ndarray, "h w 3"]
    """RGB."""
    box: tuple[float, float, float, float]
    """Face box x0, y0, x1, y1 in pixels; may extend beyond the image."""
    landmarks: Float[np.ndarray, "68 2"]
    """x and y in pixels of the neutral face, in the usual 68-point order."""


def render_photo(config: SyntheticConfig, name: str, expression: str | None) -> Still:
    """An image with a face at a random position, as in AffectNet; without a face if ``expression`` is None."""
    rng = generator(config.seed, "photograph", name)
    width, height = PHOTO_SIZE
    size = rng.uniform(27, 44)
    x, y = width / 2 + rng.normal(0, 10), height * 0.46 + rng.normal(0, 7)
    if rng.random() < 0.1:
        x = rng.choice([0.35 * size, width - 0.35 * size])
    roll, yaw, pitch = _sample_rotation(rng, config, (0.11, 0.16, 0.08))
    return _render(config, rng, name, expression, PHOTO_SIZE, Pose(x=x, y=y, size=size, roll=roll, yaw=yaw, pitch=pitch, gaze=_sample_gaze(rng)))


def render_aligned(config: SyntheticConfig, name: str, expression: str) -> Still:
    """An upright face that fills the image, as in RAF-DB."""
    rng = generator(config.seed, "aligned", name)
    width, height = ALIGNED_SIZE
    roll, yaw, pitch = _sample_rotation(rng, config, (0.03, 0.16, 0.08))
    pose = Pose(
        x=width / 2 + rng.normal(0, 2),
        y=height * 0.47 + rng.normal(0, 2),
        size=rng.uniform(32, 38),
        roll=roll,
        yaw=yaw,
        pitch=pitch,
        gaze=_sample_gaze(rng),
    )
    return _render(config, rng, name, expression, ALIGNED_SIZE, pose)


def _sample_rotation(rng: np.random.Generator, config: SyntheticConfig, stds: tuple[float, float, float]) -> tuple[float, float, float]:
    """Random roll, yaw and pitch of a head in radians, with these standard deviations."""
    roll, yaw, pitch = config.head_pose_scale * rng.normal(0, stds)
    return roll, float(np.clip(yaw, -0.5, 0.5)), pitch


def _sample_gaze(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.normal(0, 0.5)), float(rng.normal(0, 0.4))


def _render(config: SyntheticConfig, rng: np.random.Generator, name: str, expression: str | None, size: tuple[int, int], pose: Pose) -> Still:
    identity = make_identity(config.seed, f"still-{name}")
    image, camera = background(rng, size), Camera(rng, size)
    if expression is not None:
        activation = identity.au_rest + identity.au_gain * config.expression_intensity * rng.uniform(0.55, 1.0) * sample_activations(rng, expression)
        activation = activation + rng.normal(0, 0.05, len(ACTION_UNITS))
        if rng.random() < 0.4:
            activation[UNIT_INDEX["jaw"]] += rng.uniform(0, 0.4)
            activation[UNIT_INDEX["lip_low"]] += rng.uniform(0, 0.2)
        Head(identity).render(image, pose, activation)
        if rng.random() < 0.05:
            kind = str(rng.choice(OCCLUDERS))
            render_occluder(image, kind, identity, pose, (rng.normal(0, 0.3), rng.normal(0, 0.2)), tuple(rng.uniform(30, 210, 3)))
    recorded = camera.record(image, rng, rng.uniform(0.8, 1.2), max(rng.normal(0, 0.5), 0.0))
    return Still(recorded, face_box(identity, pose), pose.project(_landmarks(identity)))


def _landmarks(identity: Identity) -> np.ndarray:
    """Jaw 17, brows 5 and 5, nose 9, eyes 6 and 6, mouth 12 and 8, as in the 68-point annotation; the action units do not move them."""
    angle = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.95 * np.cos(angle), identity.height * np.sin(angle)], axis=1)
    brow = np.stack([np.linspace(-0.7, -0.18, 5), np.full(5, EYES - identity.brow_y)], axis=1)
    nose = np.stack(
        [np.r_[np.zeros(4), np.linspace(-0.12, 0.12, 5)], np.r_[np.linspace(EYES, identity.nose_y - 0.1, 4), np.full(5, identity.nose_y)]], axis=1
    )
    eye = _ellipse(6, 0.23, 0.1) + (-identity.eye_x, EYES)
    lips = np.concatenate([_ellipse(12, identity.mouth_width, 0.1), _ellipse(8, 0.85 * identity.mouth_width, 0.03)]) + (0, identity.mouth_y)
    return np.concatenate([jaw, brow, brow[::-1] * (-1, 1), nose, eye, eye + (2 * identity.eye_x, 0), lips])


def _ellipse(count: int, width: float, height: float) -> np.ndarray:
    """Points of an ellipse, from the left end over the top."""
    angle = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([width * np.cos(angle), height * np.sin(angle)], axis=1)
