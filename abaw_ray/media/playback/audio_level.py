"""The audio of a video -> its level over time in dBFS, for a page's timeline."""

import numpy as np
from jaxtyping import Float64

from abaw_ray.media.audio import RATE, Audio

FLOOR = -100.0
"""dBFS: the level of digital silence, and of everything below."""
_BATCH = 600
"""Windows that are computed at a time, so that little memory is needed beside the samples."""


def audio_level(audio: Audio, *, window_s: float = 0.1) -> tuple[Float64[np.ndarray, " windows"], Float64[np.ndarray, " windows"]]:
    """Return the times and the RMS levels of successive windows of audio.

    Args:
        audio: The audio.
        window_s: Width of a window in seconds, a multiple of one sample; 0.1 gives ten levels per second.

    Returns:
        The centers of the windows in seconds on the container's clock, as the frames' times, the first window starting with the audio; and
        the root mean square of the samples of each window in dB relative to full scale: 0 for a square wave of amplitude 1, -3 for
        a sine, ``FLOOR`` for silence. Gaps do not count: a window that is partly in a gap has the level of its other part, one without any
        audio has NaN.

    Raises:
        ValueError: a window is shorter than one sample.

    Source: ours, defined by ``slow_level`` in the test.
    """
    width = round(window_s * RATE)
    if width < 1:
        raise ValueError(f"window_s must be at least one sample of 1/{RATE} s, got {window_s}")
    edges = np.arange(-(-len(audio.samples) // width) + 1) * width
    count = np.diff(_samples_before(audio, edges))
    power = np.zeros(len(count))
    for first in range(0, len(count), _BATCH):
        block = audio.samples[first * width : (first + _BATCH) * width].astype(np.float64)
        power[first : first + _BATCH] = np.add.reduceat(block**2, np.arange(0, len(block), width))
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.maximum(10 * np.log10(power / count), FLOOR)
    return audio.start + (edges[:-1] + width / 2) / RATE, np.where(count > 0, level, np.nan)


def _samples_before(audio: Audio, edges: np.ndarray) -> np.ndarray:
    """Number of samples outside of gaps before each index."""
    spans = audio.audible_spans()
    counted = np.concatenate([[0], np.cumsum(np.diff(spans, axis=1).ravel())])
    return np.interp(edges, np.concatenate([[0], spans.ravel()]), np.concatenate([[0], np.stack([counted[:-1], counted[1:]], axis=1).ravel()]))
