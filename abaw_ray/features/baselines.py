"""Input features of the baselines, without a learned model: gray pixels of a chip; mean pitch and energy of the audio around a frame.

If they reach a good score on a data set, it cannot show the benefit of learned features. The logistic regression is in ``scoring.baselines``.
"""

import cv2
import numpy as np
import torch
import torchaudio.functional as audio_functional
from jaxtyping import Bool, Float, Float32

from abaw_ray.media.audio import RATE, Audio, windows

_PITCH_RANGE_HZ = (60, 500)
"""Search range of the pitch."""


def first_of_interval(time: Float[np.ndarray, " frames"], interval_s: float) -> Bool[np.ndarray, " frames"]:
    """Mask of the first frame in every interval of ``interval_s`` seconds; ``time`` ascends."""
    interval = np.floor_divide(time, interval_s)
    return np.diff(interval, prepend=interval[:1] - 1) > 0


def gray_pixels(jpeg: bytes, img_size: int) -> Float32[np.ndarray, " pixels"]:
    """Gray values 0..1 of a chip, reduced to ``img_size`` x ``img_size``, as a flat vector."""
    gray = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE))
    return cv2.resize(gray, (img_size, img_size), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / 255


def pitch_and_energy(
    audio: Audio | None, time: Float[np.ndarray, " frames"], window_s: float
) -> tuple[Float32[np.ndarray, "frames 2"], Bool[np.ndarray, " frames"]]:
    """Mean pitch (log Hz) and energy (dB) of the window around each frame's time, and whether the window has any audio."""
    if audio is None or not len(time):
        return np.zeros((len(time), 2), np.float32), np.zeros(len(time), dtype=bool)
    samples, heard = windows(audio, time, width=window_s)
    energy = 10 * np.log10(np.square(samples).mean(axis=1) + 1e-10)
    low, high = _PITCH_RANGE_HZ
    pitch_hz = audio_functional.detect_pitch_frequency(torch.from_numpy(samples), RATE, freq_low=low, freq_high=high)
    pitch = pitch_hz.clamp(low, high).log().mean(dim=1).numpy()
    return np.stack([pitch, energy], axis=1).astype(np.float32), heard
