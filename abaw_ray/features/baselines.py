"""What can be read off without any model: raw pixels of a chip, mean pitch and energy of the voice. The yardstick of ``baselines`` in a summary.

A data set on which these already reach a good score teaches nothing about a method. The regression itself is ``scoring.baselines``.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torchaudio.functional as audio_functional
from jaxtyping import Bool, Float, Float32

from abaw_ray.core.errors import ConfigError
from abaw_ray.media.audio import RATE, Audio, windows

_PITCH = (60, 500)
"""Hz; outside of it no voice is looked for."""


@dataclass(frozen=True, kw_only=True)
class BaselineConfig:
    """How the two baselines look at a video; all values ours."""

    side: int = 24
    """Pixels; the chip is reduced to this square, in grey."""
    window: float = 1.0
    """Seconds of voice around a frame."""
    every: float = 0.5
    """Seconds from one frame used to the next: neighbours look alike."""

    def __post_init__(self) -> None:
        """Refuse what gives no numbers."""
        if self.side < 2 or self.window <= 0 or self.every <= 0:
            raise ConfigError(f"baselines.side={self.side} must be 2 or more, window={self.window} and every={self.every} above 0")


def spaced(time: Float[np.ndarray, " frames"], every: float) -> Bool[np.ndarray, " frames"]:
    """Marks the first frame of every stretch of ``every`` seconds."""
    slot = np.floor_divide(time, every)
    return np.diff(slot, prepend=slot[:1] - 1) > 0


def pixels(jpeg: bytes, side: int) -> Float32[np.ndarray, " pixels"]:
    """Grey values 0..1 of a chip, reduced to ``side`` x ``side``, in one row."""
    grey = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / 255


def voice(
    audio: Audio | None, time: Float[np.ndarray, " frames"], window: float
) -> tuple[Float32[np.ndarray, "frames 2"], Bool[np.ndarray, " frames"]]:
    """Mean pitch (log Hz) and energy (dB) of the window around each frame's time, and whether there is any audio."""
    if audio is None or not len(time):
        return np.zeros((len(time), 2), np.float32), np.zeros(len(time), dtype=bool)
    samples, heard = windows(audio, time, width=window)
    energy = 10 * np.log10(np.square(samples).mean(axis=1) + 1e-10)
    found = audio_functional.detect_pitch_frequency(torch.from_numpy(samples), RATE, freq_low=_PITCH[0], freq_high=_PITCH[1])
    pitch = found.clamp(*_PITCH).log().mean(dim=1).numpy()
    return np.stack([pitch, energy], axis=1).astype(np.float32), heard
