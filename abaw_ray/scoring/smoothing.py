"""Temporal smoothing of per-frame class probabilities.

Input: probabilities, presentation times and a mask of scored frames of one subject. Output: smoothed probabilities. Each subject is smoothed
independently. Times are rounded once to whole microseconds and compared as integers, so that a frame exactly half a window away is inside for every
implementation. This module needs NumPy alone and is used for single videos and for one setting; compiling loops takes seconds, more than they would
save there. ``fitting.grid`` evaluates hundreds of settings in compiled loops, which the tests compare with the same definitions.
"""

import numpy as np
from jaxtyping import Bool, Float, Int64

from abaw_ray.scoring.config import SmoothingConfig

SIGMAS = 4.0
"""Full width of a Gaussian window in standard deviations."""
COSINES = (0.3601158050507524, 0.4792843552647309, 0.14109768751630505, 0.01841894076868381, 0.0010539995600740678, 2.9207494581119196e-05)
"""Weights of ``cos(k * pi * x / COSINE_HALF_PERIOD)``, k = 0..5, whose sum is ``exp(-x**2 / 2)`` within 5e-9 for ``|x| <= 2``; a minimax fit."""
COSINE_HALF_PERIOD = 3.48
"""In standard deviations; of all, it has the smallest error with six cosines."""


def to_microseconds(seconds: Float[np.ndarray, " frames"]) -> Int64[np.ndarray, " frames"]:
    """Presentation times in whole microseconds, the unit in which smoothing compares times."""
    return np.rint(seconds * 1e6).astype(np.int64)


def smooth(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    config: SmoothingConfig,
) -> Float[np.ndarray, "frames classes"]:
    """Smoothed scores of one subject: short gaps are interpolated, then scores are averaged over the window.

    Args:
        scores: Probabilities of one subject; rows of unscored frames are ignored, whatever they hold.
        time: Presentation time in seconds, ascending.
        scored: Whether the frame has a score, from its face or its audio.
        config: Kind, window width and longest gap.

    Returns:
        Smoothed scores; NaN in every frame of a gap longer than ``config.max_gap_s``.

    Raises:
        ValueError: a scored row is not finite.
    """
    microseconds = to_microseconds(time)
    filled, valid = fill_gaps(scores, microseconds, scored, max_gap_s=config.max_gap_s)
    if config.window_s == 0:
        return filled
    mean = moving_mean if config.kind == "mean" else gaussian_mean
    out = mean(filled, microseconds, valid, window_s=config.window_s)
    out[~valid] = np.nan
    return out


def fill_gaps(
    scores: Float[np.ndarray, "frames classes"],
    time: Int64[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    max_gap_s: float,
) -> tuple[Float[np.ndarray, "frames classes"], Bool[np.ndarray, " frames"]]:
    """Scores with short gaps interpolated linearly in time; at the ends of the video the nearest score is held.

    Args:
        scores: As in ``smooth``.
        time: Presentation time in microseconds, ascending.
        scored: As in ``smooth``.
        max_gap_s: Seconds from the scored frame before the gap to the one after it (at an end of the video: from the end to the scored frame).
            Longer gaps are not filled.

    Returns:
        The scores, NaN where a frame has none, and whether each frame has one after filling.
    """
    _check_finite(scores, scored)
    out = np.where(scored[:, None], scores, np.nan).astype(np.float64)
    anchors = np.flatnonzero(scored)
    if len(anchors) in (0, len(scored)):
        return out, scored.copy()
    empty = np.flatnonzero(~scored)
    after = np.searchsorted(anchors, empty)
    before = np.where(after > 0, anchors[after - 1], 0)
    following = np.where(after < len(anchors), anchors[after.clip(max=len(anchors) - 1)], len(scored) - 1)
    fill = empty[time[following] - time[before] <= round(max_gap_s * 1e6)]
    for column in range(scores.shape[1]):
        out[fill, column] = np.interp(time[fill], time[anchors], out[anchors, column])
    valid = scored.copy()
    valid[fill] = True
    return out, valid


def moving_mean(
    scores: Float[np.ndarray, "frames classes"],
    time: Int64[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    window_s: float,
) -> Float[np.ndarray, "frames classes"]:
    """Moving average: mean score of the scored frames in a window centered on each frame's time.

    Args:
        scores: Probabilities; rows of unscored frames are ignored, whatever they hold.
        time: Presentation time in microseconds, ascending.
        scored: Whether the frame has a score, from its face or its audio.
        window_s: Full width in seconds; a frame exactly half a window away is included.

    Returns:
        The means; NaN where the window holds no scored frame.

    Raises:
        ValueError: ``window_s`` is negative, or a scored row is not finite (one NaN would spread through the cumulative sums).

    Source: ours; ``slow_mean`` in the test is the definition.
    """
    start, stop = _windows(time, window_s)
    _check_finite(scores, scored)
    sums = _window_sums(np.where(scored[:, None], scores, 0.0), start, stop)
    count = np.pad(np.cumsum(scored), (1, 0))
    with np.errstate(invalid="ignore"):  # 0/0 gives the documented NaN
        return sums / (count[stop] - count[start])[:, None]


def gaussian_mean(
    scores: Float[np.ndarray, "frames classes"],
    time: Int64[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    window_s: float,
) -> Float[np.ndarray, "frames classes"]:
    """Gaussian-weighted moving average; the standard deviation is a quarter of the window, and the weights are cut at the window's ends.

    The Gaussian is written as a sum of cosines (``COSINES``). A cosine of a difference of times is the real part of a product of two phases, so each
    term needs one cumulative sum: the cost does not depend on the window, at any frame rate.

    Args:
        scores: As in ``moving_mean``.
        time: As in ``moving_mean``.
        scored: As in ``moving_mean``.
        window_s: As in ``moving_mean``.

    Returns:
        The weighted means, within 2e-7 of the definition for scores of 0..1; NaN where the window holds no scored frame.

    Raises:
        ValueError: as in ``moving_mean``.

    Source: sums of cosines as in Elboher and Werman, "Cosine integral images for fast spatial and range filtering" (2011), here for times in place
    of pixels; ``slow_gaussian`` in the test is the definition.
    """
    if window_s <= 0:
        return moving_mean(scores, time, scored, window_s=window_s)
    start, stop = _windows(time, window_s)
    _check_finite(scores, scored)
    values = np.concatenate([np.where(scored[:, None], scores, 0.0), scored[:, None]], axis=1, dtype=np.float64)  # the last column sums the weights
    sums = COSINES[0] * _window_sums(values, start, stop)
    phase = np.exp(1j * np.pi * SIGMAS / (COSINE_HALF_PERIOD * round(window_s * 1e6)) * (time - time[:1]))
    power = np.ones_like(phase)
    for weight in COSINES[1:]:
        power = power * phase
        sums += weight * np.real(power[:, None] * _window_sums(power.conj()[:, None] * values, start, stop))
    count = np.pad(np.cumsum(scored), (1, 0))
    sums[count[stop] == count[start]] = np.nan
    return sums[:, :-1] / sums[:, -1:]


def _windows(time: np.ndarray, window_s: float) -> tuple[np.ndarray, np.ndarray]:
    """First row of each frame's window, and the row after its last one; distances and half the window are compared as integers."""
    if window_s < 0:
        raise ValueError(f"window_s must be 0 or more, got {window_s}")
    width = round(window_s * 1e6)
    return np.searchsorted(2 * time, 2 * time - width, side="left"), np.searchsorted(2 * time, 2 * time + width, side="right")


def _window_sums(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    sums = np.pad(np.cumsum(values, axis=0, dtype=np.result_type(values, np.float64)), ((1, 0), (0, 0)))
    return sums[stop] - sums[start]


def _check_finite(scores: np.ndarray, scored: np.ndarray) -> None:
    if not np.isfinite(scores[scored]).all():
        raise ValueError(f"{(~np.isfinite(scores[scored])).any(axis=1).sum()} scored frames hold NaN or infinity")
