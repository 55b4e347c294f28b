"""Temporal smoothing of per-frame class probabilities.

Input: probabilities, presentation times and a mask of scored frames of one subject. Output: smoothed probabilities. Each subject is smoothed
independently.
"""

import numpy as np
from jaxtyping import Bool, Float

from abaw_ray.scoring.config import SmoothingConfig

_SIGMAS = 4.0
"""Full width of a Gaussian window in standard deviations."""


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
    filled, valid = fill_gaps(scores, time, scored, max_gap_s=config.max_gap_s)
    return smooth_filled(filled, time, valid, config)


def smooth_filled(
    filled: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    valid: Bool[np.ndarray, " frames"],
    config: SmoothingConfig,
) -> Float[np.ndarray, "frames classes"]:
    """Second half of ``smooth``, for a grid of windows over the same filled scores; an unscored frame stays NaN."""
    if config.window_s == 0:
        return filled
    mean = moving_mean if config.kind == "mean" else gaussian_mean
    out = mean(filled, time, valid, window_s=config.window_s)
    out[~valid] = np.nan
    return out


def fill_gaps(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    max_gap_s: float,
) -> tuple[Float[np.ndarray, "frames classes"], Bool[np.ndarray, " frames"]]:
    """Scores with short gaps interpolated linearly in time; at the ends of the video the nearest score is held.

    Args:
        scores: As in ``smooth``.
        time: As in ``smooth``.
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
    fill = empty[time[following] - time[before] <= max_gap_s]
    for column in range(scores.shape[1]):
        out[fill, column] = np.interp(time[fill], time[anchors], out[anchors, column])
    valid = scored.copy()
    valid[fill] = True
    return out, valid


def moving_mean(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    window_s: float,
) -> Float[np.ndarray, "frames classes"]:
    """Moving average: mean score of the scored frames in a window centred on each frame's time.

    Args:
        scores: Probabilities; rows of unscored frames are ignored, whatever they hold.
        time: Presentation time in seconds, ascending.
        scored: Whether the frame has a score, from its face or its audio.
        window_s: Full width in seconds; a frame exactly half a window away is included.

    Returns:
        The means; NaN where the window holds no scored frame.

    Raises:
        ValueError: ``window_s`` is negative, or a scored row is not finite (one NaN would spread through the cumulative sums).

    Source: ours; ``slow_mean`` in the test is the definition.
    """
    if window_s < 0:
        raise ValueError(f"window_s must be 0 or more, got {window_s}")
    _check_finite(scores, scored)
    start = np.searchsorted(time, time - window_s / 2, side="left")
    stop = np.searchsorted(time, time + window_s / 2, side="right")
    sums = np.pad(np.cumsum(np.where(scored[:, None], scores, 0.0), axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    count = np.pad(np.cumsum(scored), (1, 0))
    with np.errstate(invalid="ignore"):  # 0/0 gives the documented NaN
        return (sums[stop] - sums[start]) / (count[stop] - count[start])[:, None]


def gaussian_mean(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    window_s: float,
) -> Float[np.ndarray, "frames classes"]:
    """Gaussian-weighted moving average; the standard deviation is a quarter of the window, and the weights are cut at the window's ends.

    Args:
        scores: As in ``moving_mean``.
        time: As in ``moving_mean``.
        scored: As in ``moving_mean``.
        window_s: As in ``moving_mean``.

    Returns:
        The weighted means; NaN where the window holds no scored frame.

    Raises:
        ValueError: as in ``moving_mean``.

    Source: ours, for any frame rate, in single precision; ``slow_gaussian`` in the test is the definition.
    """
    if window_s <= 0:
        return moving_mean(scores, time, scored, window_s=window_s)
    _check_finite(scores, scored)
    values = np.concatenate([np.where(scored, scores.T, 0.0), scored[None]], dtype=np.float32)  # the last row accumulates the weights
    sums = values.copy()
    for step in range(1, len(time)):
        distance = time[step:] - time[:-step]
        inside = distance <= window_s / 2
        if not inside.any():
            break
        weight = np.exp(-0.5 * np.square((distance * (_SIGMAS / window_s)).astype(np.float32))) * inside
        sums[:, :-step] += weight * values[:, step:]
        sums[:, step:] += weight * values[:, :-step]
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray((sums[:-1] / sums[-1]).T, dtype=np.float64)


def _check_finite(scores: np.ndarray, scored: np.ndarray) -> None:
    if not np.isfinite(scores[scored]).all():
        raise ValueError(f"{(~np.isfinite(scores[scored])).any(axis=1).sum()} scored frames hold NaN or infinity")
