"""Frame scores over time: the last step before a class is chosen.

Takes probabilities of one subject, their times and which frames were scored; knows nothing of models, files or Ray. Never across
subjects: each is smoothed alone.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from abaw_ray.core.errors import ConfigError

Kind = Literal["mean", "gaussian"]
_SIGMAS = 4.0
"""Standard deviations in the whole width of a Gaussian's window."""


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """How frame scores are smoothed; the sweep chooses among several of these on held-out scores."""

    kind: Kind = "mean"
    """Weights inside the window. The paper slides a window and does not say which; a mean beat a median elsewhere (``DATA.md`` 3)."""
    window: float = 3.4
    """Seconds, whole width; 0 means no smoothing. Frame rates run from 6 to 60 per second, so never frames. Ours, not from the paper;
    half-widths of 50 frames were best elsewhere (``DATA.md`` section 3)."""
    max_gap: float = 2.0
    """Seconds from scored to scored frame; a shorter stretch with neither face nor voice is interpolated before the smoothing, a longer
    one keeps its frames without a score. Ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other, before any machine is paid for."""
        if self.kind not in get_args(Kind):
            raise ConfigError(f"smoothing.kind='{self.kind}' is unknown; take one of {', '.join(get_args(Kind))}")
        if not self.window >= 0:
            raise ConfigError(f"smoothing.window={self.window} s is negative; 0 means no smoothing")
        if not self.max_gap >= 0:
            raise ConfigError(f"smoothing.max_gap={self.max_gap} s is negative; 0 fills no gap")


def smooth(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    config: SmoothingConfig,
) -> Float[np.ndarray, "frames classes"]:
    """Fill short gaps, then average over the window.

    Args:
        scores: Probabilities of one subject; rows of frames that were not scored do not count, whatever they hold.
        time: Presentation time in seconds, ascending.
        scored: Whether the frame has a score, from its face or its voice.
        config: Kind, window and longest gap.

    Returns:
        Smoothed scores; NaN in every frame of a gap longer than ``config.max_gap``.

    Raises:
        ValueError: a scored row is not finite.
    """
    filled, known = fill_gaps(scores, time, scored, max_gap=config.max_gap)
    return average(filled, time, known, config)


def average(
    filled: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    known: Bool[np.ndarray, " frames"],
    config: SmoothingConfig,
) -> Float[np.ndarray, "frames classes"]:
    """The second half of ``smooth``, for a grid of windows over gaps that were filled once; a frame that is not known stays NaN."""
    if config.window == 0:
        return filled
    mean = moving_mean if config.kind == "mean" else gaussian_mean
    out = mean(filled, time, known, window=config.window)
    out[~known] = np.nan
    return out


def fill_gaps(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    max_gap: float,
) -> tuple[Float[np.ndarray, "frames classes"], Bool[np.ndarray, " frames"]]:
    """Interpolate linearly in time between the scored frames around a short gap; hold the nearest score at the video's ends.

    Args:
        scores: As of ``smooth``.
        time: As of ``smooth``.
        scored: As of ``smooth``.
        max_gap: Seconds from the scored frame before to the one after (at an end: from it to the scored frame); longer stays a gap.

    Returns:
        The scores, NaN where there is none, and whether a frame has one now.
    """
    _check_finite(scores, scored)
    out = np.where(scored[:, None], scores, np.nan).astype(np.float64)
    where = np.flatnonzero(scored)
    if len(where) in (0, len(scored)):
        return out, scored.copy()
    empty = np.flatnonzero(~scored)
    after = np.searchsorted(where, empty)
    before = np.where(after > 0, where[after - 1], 0)
    behind = np.where(after < len(where), where[after.clip(max=len(where) - 1)], len(scored) - 1)
    fill = empty[time[behind] - time[before] <= max_gap]
    for column in range(scores.shape[1]):
        out[fill, column] = np.interp(time[fill], time[where], out[where, column])
    known = scored.copy()
    known[fill] = True
    return out, known


def moving_mean(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    window: float,
) -> Float[np.ndarray, "frames classes"]:
    """Average each frame's scores over the scored frames of a window centred on its time.

    Args:
        scores: Probabilities; rows of frames that were not scored do not count, whatever they hold.
        time: Presentation time in seconds, ascending.
        scored: Whether the frame has a score, from its face or its voice.
        window: Whole width in seconds; a frame exactly half a window away counts.

    Returns:
        The means; NaN where the window holds no scored frame, never an invented score.

    Raises:
        ValueError: ``window`` is negative, or a scored row is not finite (one NaN would spread over all later sums).

    Source: our own, defined by ``slow_mean`` in the test.
    """
    if window < 0:
        raise ValueError(f"window must be 0 s or more, got {window}")
    _check_finite(scores, scored)
    start = np.searchsorted(time, time - window / 2, side="left")
    stop = np.searchsorted(time, time + window / 2, side="right")
    sums = np.pad(np.cumsum(np.where(scored[:, None], scores, 0.0), axis=0, dtype=np.float64), ((1, 0), (0, 0)))
    count = np.pad(np.cumsum(scored), (1, 0))
    with np.errstate(invalid="ignore"):  # 0/0 is the NaN promised above
        return (sums[stop] - sums[start]) / (count[stop] - count[start])[:, None]


def gaussian_mean(
    scores: Float[np.ndarray, "frames classes"],
    time: Float[np.ndarray, " frames"],
    scored: Bool[np.ndarray, " frames"],
    *,
    window: float,
) -> Float[np.ndarray, "frames classes"]:
    """The same with weights that fall off as a Gaussian of a quarter of the window as standard deviation, cut at the window's ends.

    Args:
        scores: As of ``moving_mean``.
        time: As of ``moving_mean``.
        scored: As of ``moving_mean``.
        window: As of ``moving_mean``.

    Returns:
        The weighted means; NaN where the window holds no scored frame.

    Raises:
        ValueError: as of ``moving_mean``.

    Source: our own, for any frame rate, to single precision; defined by ``slow_gaussian`` in the test.
    """
    if window <= 0:
        return moving_mean(scores, time, scored, window=window)
    _check_finite(scores, scored)
    values = np.concatenate([np.where(scored, scores.T, 0.0), scored[None]], dtype=np.float32)  # the last row sums the weights
    sums = values.copy()
    for step in range(1, len(time)):
        apart = time[step:] - time[:-step]
        near = apart <= window / 2
        if not near.any():
            break
        weight = np.exp(-0.5 * np.square((apart * (_SIGMAS / window)).astype(np.float32))) * near
        sums[:, :-step] += weight * values[:, step:]
        sums[:, step:] += weight * values[:, :-step]
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray((sums[:-1] / sums[-1]).T, dtype=np.float64)


def _check_finite(scores: np.ndarray, scored: np.ndarray) -> None:
    if not np.isfinite(scores[scored]).all():
        raise ValueError(f"{(~np.isfinite(scores[scored])).any(axis=1).sum()} scored frames hold NaN or infinity")
