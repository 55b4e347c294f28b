"""Draws still images: one person, one expression, one picture, by the same faces, light and camera as the videos.

AffectNet's are loose photographs with a face somewhere, RAF-DB's are aligned crops. Files and lists are the matter of ``images.py``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.face.face import Head, Pose, face_box
from abaw_ray.data.synthetic.face.muscles import INDEX, MUSCLES, pulls
from abaw_ray.data.synthetic.face.occluders import COVERS, cover
from abaw_ray.data.synthetic.face.people import Person, make_person
from abaw_ray.data.synthetic.face.shapes import EYES
from abaw_ray.data.synthetic.scene.camera import Camera, background

PHOTOGRAPH = (160, 160)
"""Width and height of an AffectNet image here, pixels."""
ALIGNED = (100, 100)
"""Width and height of RAF-DB's aligned images, pixels."""


@dataclass(frozen=True)
class Still:
    """One drawn image."""

    picture: UInt8[np.ndarray, "h w 3"]
    """RGB."""
    box: tuple[float, float, float, float]
    """Of the face: x0, y0, x1, y1 in pixels; may leave the picture."""
    landmarks: Float[np.ndarray, "68 2"]
    """x and y in pixels, in the usual order; of a face at rest."""


def photograph(config: SyntheticConfig, name: str, expression: str | None) -> Still:
    """A face somewhere in a picture, as in AffectNet; without an expression there is no face in it."""
    rng = generator(config.seed, "photograph", name)
    width, height = PHOTOGRAPH
    size = rng.uniform(27, 44)
    x, y = width / 2 + rng.normal(0, 10), height * 0.46 + rng.normal(0, 7)
    if rng.random() < 0.1:
        x = rng.choice([0.35 * size, width - 0.35 * size])
    roll, yaw, pitch = _turn(rng, config, (0.11, 0.16, 0.08))
    return _draw(config, rng, name, expression, PHOTOGRAPH, Pose(x=x, y=y, size=size, roll=roll, yaw=yaw, pitch=pitch, gaze=_gaze(rng)))


def aligned(config: SyntheticConfig, name: str, expression: str) -> Still:
    """An upright face that fills the picture, as in RAF-DB."""
    rng = generator(config.seed, "aligned", name)
    width, height = ALIGNED
    roll, yaw, pitch = _turn(rng, config, (0.03, 0.16, 0.08))
    pose = Pose(
        x=width / 2 + rng.normal(0, 2),
        y=height * 0.47 + rng.normal(0, 2),
        size=rng.uniform(32, 38),
        roll=roll,
        yaw=yaw,
        pitch=pitch,
        gaze=_gaze(rng),
    )
    return _draw(config, rng, name, expression, ALIGNED, pose)


def _turn(rng: np.random.Generator, config: SyntheticConfig, spreads: tuple[float, float, float]) -> tuple[float, float, float]:
    """Roll, yaw and pitch of a head, radians."""
    roll, yaw, pitch = config.turning * rng.normal(0, spreads)
    return roll, float(np.clip(yaw, -0.5, 0.5)), pitch


def _gaze(rng: np.random.Generator) -> tuple[float, float]:
    return float(rng.normal(0, 0.5)), float(rng.normal(0, 0.4))


def _draw(config: SyntheticConfig, rng: np.random.Generator, name: str, expression: str | None, size: tuple[int, int], pose: Pose) -> Still:
    person = make_person(config.seed, f"still-{name}")
    picture, camera = background(rng, size), Camera(rng, size)
    if expression is not None:
        pull = person.rest + person.answer * config.strength * rng.uniform(0.55, 1.0) * pulls(rng, expression)
        pull = pull + rng.normal(0, 0.05, len(MUSCLES))
        if rng.random() < 0.4:
            pull[INDEX["jaw"]] += rng.uniform(0, 0.4)
            pull[INDEX["lip_low"]] += rng.uniform(0, 0.2)
        Head(person).draw(picture, pose, pull)
        if rng.random() < 0.05:
            cover(picture, str(rng.choice(COVERS)), person, pose, (rng.normal(0, 0.3), rng.normal(0, 0.2)), tuple(rng.uniform(30, 210, 3)))
    recorded = camera.record(picture, rng, rng.uniform(0.8, 1.2), max(rng.normal(0, 0.5), 0.0))
    return Still(recorded, face_box(person, pose), pose.project(_landmarks(person)))


def _landmarks(person: Person) -> np.ndarray:
    """Jaw 17, brows 5 and 5, nose 9, eyes 6 and 6, mouth 12 and 8, as in the 68-point annotation; the muscles do not move them."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.95 * np.cos(turn), person.height * np.sin(turn)], axis=1)
    brow = np.stack([np.linspace(-0.7, -0.18, 5), np.full(5, EYES - person.brow_y)], axis=1)
    nose = np.stack(
        [np.r_[np.zeros(4), np.linspace(-0.12, 0.12, 5)], np.r_[np.linspace(EYES, person.nose_y - 0.1, 4), np.full(5, person.nose_y)]], axis=1
    )
    eye = _ellipse(6, 0.23, 0.1) + (-person.eye_x, EYES)
    lips = np.concatenate([_ellipse(12, person.mouth_width, 0.1), _ellipse(8, 0.85 * person.mouth_width, 0.03)]) + (0, person.mouth_y)
    return np.concatenate([jaw, brow, brow[::-1] * (-1, 1), nose, eye, eye + (2 * person.eye_x, 0), lips])


def _ellipse(count: int, width: float, height: float) -> np.ndarray:
    """Points from the left corner over the top."""
    turn = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([width * np.cos(turn), height * np.sin(turn)], axis=1)
