"""Expression segments and times -> one vector of action unit activations and one head pose per frame; nothing is rendered here.

Activations follow the script, with blinks, mouth movement from the voice, and slow random head motion.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.face.action_units import ACTION_UNITS, UNIT_INDEX, sample_activations
from abaw_ray.data.synthetic.face.face import Pose
from abaw_ray.data.synthetic.face.identity import Color, Identity
from abaw_ray.data.synthetic.script import ExpressionSegment

_FADE = 0.25
"""Seconds of the cross-fade from one expression to the next."""


@dataclass(frozen=True)
class Animation:
    """Animation of one subject in one video, frame by frame."""

    poses: list[Pose]
    activations: Float[np.ndarray, "frames units"]
    occlusion: list[str]
    """Occlusion of each frame, as in ``ExpressionSegment``."""
    shift: list[tuple[float, float]]
    """Offset of the occluder, in half face widths."""
    color: Color
    """Color of the occluder."""
    brightness: Float[np.ndarray, " frames"]
    """Factor on all light."""
    blur: Float[np.ndarray, " frames"]
    """Gaussian sigma in pixels."""


def smooth_noise(rng: np.random.Generator, times: np.ndarray, size: float, period: tuple[float, float] = (1.2, 5.0)) -> np.ndarray:
    """A smooth random curve around 0 with an amplitude of about ``size``: the sum of three sines with periods in this range (seconds)."""
    waves = [rng.normal(0, 0.6) * np.sin(2 * np.pi * times / rng.uniform(*period) + rng.uniform(0, 2 * np.pi)) for _ in range(3)]
    return size * np.sum(waves, axis=0)


def animate(
    rng: np.random.Generator,
    config: SyntheticConfig,
    identity: Identity,
    segments: tuple[ExpressionSegment, ...],
    times: np.ndarray,
    talk: np.ndarray,
    place: int,
    count: int,
) -> Animation:
    """Animation of one subject in one video.

    Args:
        rng: Generator of this subject in this video.
        config: Frame size and expression intensity.
        identity: The subject.
        segments: The subject's expression segments.
        times: Presentation times of the frames in seconds.
        talk: Loudness of the voice at each frame, which opens the mouth.
        place: Position of the subject from the left, from 0.
        count: Number of subjects in the frame.
    """
    stops = np.array([segment.stop for segment in segments])
    segment_index = np.minimum(np.searchsorted(stops, times, side="right"), len(stops) - 1)
    occlusion = [_occlusion_at(segments[index], time) for index, time in zip(segment_index, times, strict=True)]
    activation = _expressions(rng, config, identity, segments, times)
    _talk(rng, identity, activation, talk)
    for time in np.cumsum(rng.uniform(1.5, 5.0, 1 + int(times[-1]))):
        activation[:, UNIT_INDEX["shut"]] = np.maximum(activation[:, UNIT_INDEX["shut"]], np.clip(1.6 - np.abs(times - time) / 0.09, 0, 1))
    drift = smooth_noise(rng, times, 0.25)
    return Animation(
        poses=_poses(rng, config, times, np.array(occlusion) == "edge", place, count),
        activations=activation,
        occlusion=occlusion,
        shift=list(zip((drift + rng.choice([-0.2, 0.2])).tolist(), smooth_noise(rng, times, 0.2).tolist(), strict=True)),
        color=tuple(rng.uniform(30, 210, 3).tolist()),
        brightness=1 + np.clip(smooth_noise(rng, times, 0.09), -0.25, 0.2),
        blur=np.clip(smooth_noise(rng, times, 0.5, (0.8, 3.0)), 0, 1.3),
    )


def _occlusion_at(segment: ExpressionSegment, time: float) -> str:
    """Occlusion at a time; in a segment with ``away``, the face is absent only in the middle."""
    if segment.occlusion != "away":
        return segment.occlusion
    fraction = (time - segment.start) / (segment.stop - segment.start)
    return "away" if 0.15 < fraction < 0.85 else "faint"


def _expressions(
    rng: np.random.Generator, config: SyntheticConfig, identity: Identity, segments: tuple[ExpressionSegment, ...], times: np.ndarray
) -> np.ndarray:
    """Activations of all segments with cross-fades, and random variation."""
    total = np.zeros((len(times), len(ACTION_UNITS)))
    for segment in segments:
        level = rng.uniform(0.05, 0.2) if segment.occlusion in ("faint", "away") else rng.uniform(0.6, 1.0)
        intensity = level * (1 + smooth_noise(rng, times, 0.14, (0.6, 2.5)))
        rising = np.clip((times - segment.start) / _FADE + 0.5, 0, 1) if segment.start > 0 else 1.0
        falling = np.clip((segment.stop - times) / _FADE + 0.5, 0, 1) if segment is not segments[-1] else 1.0
        total += (config.expression_intensity * intensity * rising * falling)[:, None] * sample_activations(rng, segment.expression)
    noise = np.stack([smooth_noise(rng, times, 0.06, (0.3, 2.0)) for _ in ACTION_UNITS], axis=1)
    noise[:, [UNIT_INDEX[name] for name in ("side", "brow_side", "wink", "puff", "tongue", "shut")]] *= 0.3
    return identity.au_rest + identity.au_gain * total + noise


def _talk(rng: np.random.Generator, identity: Identity, activation: np.ndarray, talk: np.ndarray) -> None:
    """Add mouth movement with the voice, in place: opening with loudness, width with vowels."""
    loudness = np.clip(talk, 0, 1.5)
    activation[:, UNIT_INDEX["jaw"]] += rng.uniform(0.2, 0.45) * loudness
    activation[:, UNIT_INDEX["lip_low"]] += 0.2 * loudness
    activation[:, UNIT_INDEX["wide"]] += 0.3 * loudness * rng.normal(0, 1, len(loudness))
    activation[:, UNIT_INDEX["pout"]] += 0.25 * loudness * rng.random(len(loudness))


def _poses(rng: np.random.Generator, config: SyntheticConfig, times: np.ndarray, edge: np.ndarray, place: int, count: int) -> list[Pose]:
    """Head poses with slow random motion; ``edge`` marks frames in which the face is half outside the image."""
    width, height = config.frame_size
    mean_size = height * (rng.uniform(0.13, 0.19) if count == 1 else rng.uniform(0.11, 0.14))
    size = mean_size * np.clip(1 + smooth_noise(rng, times, 0.1, (3.0, 9.0)), 0.75, 1.3)
    mean_x = width * ((place + 0.5) / count if count > 1 else rng.uniform(0.38, 0.62))
    x = mean_x + smooth_noise(rng, times, 0.03 * width, (2.0, 7.0))
    y = height * rng.uniform(0.42, 0.52) + smooth_noise(rng, times, 0.03 * height, (2.0, 7.0))
    side = rng.choice([-1, 1])
    outside = np.convolve(np.pad(edge.astype(float), 2, mode="edge"), np.ones(5) / 5, mode="valid")
    x = x * (1 - outside) + outside * np.where(side > 0, width - 0.1 * size, 0.1 * size)
    stds = (config.head_pose_scale * std for std in (0.1, 0.14, 0.07))
    roll, yaw, pitch = (smooth_noise(rng, times, std) + rng.normal(0, std / 2) for std in stds)
    gaze = np.stack([smooth_noise(rng, times, 0.5), smooth_noise(rng, times, 0.4)], axis=1)
    return [
        Pose(x=x[i], y=y[i], size=size[i], roll=roll[i], yaw=np.clip(yaw[i], -0.5, 0.5), pitch=pitch[i], gaze=(gaze[i, 0], gaze[i, 1]))
        for i in range(len(times))
    ]
