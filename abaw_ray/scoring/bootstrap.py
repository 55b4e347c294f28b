"""Bootstrap over recordings: intervals of scores and, paired, of differences between two models on the same frames.

The frames and the subjects of one recording are not independent samples, so whole recordings are resampled with replacement.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int, Int64

from abaw_ray.scoring.metrics import CLASSES, per_class_f1

SAMPLES = 1000
"""Bootstrap samples; ours, not from the paper."""
LEVEL = 0.95
"""Confidence level of all reported intervals."""
_ByRecording = Sequence[Int[np.ndarray, "_ 8 8"]]


def bootstrap_interval(
    matrices: Int[np.ndarray, "recordings 8 8"], *, seed: int, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Bootstrap confidence interval of the macro-F1.

    Args:
        matrices: One matrix per recording, at least one.
        seed: Seed of the resampling.
        samples: Number of bootstrap samples.
        level: Confidence level.

    Returns:
        Lower and upper end: percentiles of the bootstrap distribution. With one recording the interval has no width, which says nothing.
    """
    (draws,) = _draws([len(matrices)], seed, samples)
    low, high = _quantiles(_resampled_f1(matrices, draws).mean(axis=-1), level)
    return float(low), float(high)


def bootstrap_interval_per_class(
    matrices: Int[np.ndarray, "recordings 8 8"], *, seed: int, samples: int = SAMPLES, level: float = LEVEL
) -> Float[np.ndarray, "8 2"]:
    """As ``bootstrap_interval``, of the F1 of each class: lower and upper ends."""
    (draws,) = _draws([len(matrices)], seed, samples)
    return _quantiles(_resampled_f1(matrices, draws), level).T


def paired_difference(a: _ByRecording, b: _ByRecording, *, seed: int, samples: int = SAMPLES, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean macro-F1 of ``a`` minus that of ``b``, and the ends of its bootstrap confidence interval.

    Both models are scored on the same resampled recordings, so what makes a recording easy or difficult for both does not widen the interval.

    Args:
        a: One entry per training seed: a matrix per recording.
        b: As ``a``: the same recordings in the same order in every entry.
        seed: Seed of the resampling. Entries with equally many recordings share their draws: right where these are the same recordings, and not wrong
            where they are others, because draws do not depend on the matrices.
        samples: Number of bootstrap samples.
        level: Confidence level.

    Raises:
        ValueError: no seed, different numbers of seeds or recordings, or other annotations of a recording in ``a`` than in ``b``.
    """
    difference, resampled = _differences(a, b, seed, samples)
    low, high = _quantiles(resampled.mean(axis=-1), level)
    return float(difference.mean()), float(low), float(high)


def paired_standard_error(a: _ByRecording, b: _ByRecording, *, seed: int, samples: int = SAMPLES) -> float:
    """Standard error of ``paired_difference``: the standard deviation of its bootstrap distribution. With one recording it is 0, which says nothing.

    Raises:
        ValueError: as ``paired_difference``.
    """
    return float(_differences(a, b, seed, samples)[1].mean(axis=-1).std())


def paired_difference_per_class(
    a: _ByRecording, b: _ByRecording, *, seed: int, samples: int = SAMPLES, level: float = LEVEL
) -> tuple[Float[np.ndarray, " 8"], Float[np.ndarray, "8 2"]]:
    """As ``paired_difference``, of the F1 of each class: the differences, and the lower and upper ends."""
    difference, resampled = _differences(a, b, seed, samples)
    return difference, _quantiles(resampled, level).T


def _differences(a: _ByRecording, b: _ByRecording, seed: int, samples: int) -> tuple[Float[np.ndarray, " 8"], Float[np.ndarray, "samples 8"]]:
    """Difference of the F1 of each class, averaged over the seeds: of all recordings, and of each bootstrap sample."""
    if not a or [len(one) for one in a] != [len(one) for one in b]:
        raise ValueError(f"{len(a)} and {len(b)} seeds, or different recordings; a paired difference needs the same recordings on both sides")
    if any((one.sum(axis=-1) != other.sum(axis=-1)).any() for one, other in zip(a, b, strict=True)):
        raise ValueError("a recording has other annotations on one side; a paired difference needs the same frames on both sides")
    pooled = [per_class_f1(one.sum(axis=0)) - per_class_f1(other.sum(axis=0)) for one, other in zip(a, b, strict=True)]
    resampled = np.zeros((samples, CLASSES))
    for one, other, draws in zip(a, b, _draws([len(one) for one in a], seed, samples), strict=True):
        resampled += (_resampled_f1(one, draws) - _resampled_f1(other, draws)) / len(a)
    return np.mean(pooled, axis=0), resampled


def _draws(counts: Sequence[int], seed: int, samples: int) -> Iterator[Int64[np.ndarray, "samples _"]]:
    """How often each recording is in each bootstrap sample, for each number of recordings; equal numbers have equal draws."""
    for count in counts:
        if not count:
            raise ValueError("no recording to resample; a bootstrap needs at least one")
        yield np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)


def _resampled_f1(matrices: Int[np.ndarray, "recordings 8 8"], draws: Int64[np.ndarray, "samples recordings"]) -> Float[np.ndarray, "samples 8"]:
    return per_class_f1((draws @ matrices.reshape(len(matrices), -1)).reshape(-1, CLASSES, CLASSES))


def _quantiles(values: Float[np.ndarray, "samples *any"], level: float) -> Float[np.ndarray, "2 *any"]:
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
