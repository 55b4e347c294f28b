"""Loops over frames that numba compiles: window sums at the labelled frames, counting, and the scan over one class's bias.

The first call in a process compiles (figures in ``docs/performance.md``). The result is not cached on disk: numba writes its cache beside the source
or to the user's cache folder, and where neither can be written, as in an installation without a home folder, the import would fail. All loops
release the GIL, so that threads work on several subjects. ``scoring.smoothing`` has the same means; the tests compare both with the slow definitions.
"""

import math
from collections.abc import Callable
from typing import no_type_check

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from abaw_ray.scoring.metrics import CLASSES
from abaw_ray.scoring.smoothing import COSINES

TERMS = 2 * (len(COSINES) - 1)
"""Cosines and sines of a Gaussian besides the constant."""
_REORDER = {"reassoc", "contract", "nsz"}
"""Rules of floating point that are relaxed for vector instructions; NaN and infinity keep their meaning."""


def _even_polynomial(function: Callable[[np.ndarray], np.ndarray]) -> tuple[float, ...]:
    """Coefficients of a polynomial in ``x**2``, accurate to 1e-11 for ``|x| <= 0.5``."""
    fit = Chebyshev.interpolate(lambda square: function(np.sqrt(square)), 6, domain=[0, 0.25])
    return tuple(fit.convert(kind=Polynomial).coef.tolist())


_COS = _even_polynomial(lambda turns: np.cos(np.pi * turns))
_SIN = _even_polynomial(lambda turns: np.pi * np.sinc(turns))  # times x: sin(pi * x)


@numba.njit(nogil=True, fastmath=_REORDER)
@no_type_check
def fill_waves(time, cycles, waves):  # numba types the arguments; the callers' annotations check the shapes
    """Write cosine and sine of 1 to 5 times the phase ``2 * pi * cycles * time`` to the row of each time: cos, sin, cos, sin, ..."""
    for u in range(time.shape[0]):
        half = time[u] * cycles
        half -= math.floor(half + 0.5)
        v = half * half
        c = _COS[0] + v * (_COS[1] + v * (_COS[2] + v * (_COS[3] + v * (_COS[4] + v * (_COS[5] + v * _COS[6])))))
        s = half * (_SIN[0] + v * (_SIN[1] + v * (_SIN[2] + v * (_SIN[3] + v * (_SIN[4] + v * (_SIN[5] + v * _SIN[6]))))))
        c1, s1 = 1 - 2 * s * s, 2 * s * c
        c2, s2 = 1 - 2 * s1 * s1, 2 * s1 * c1
        c3, s3 = c2 * c1 - s2 * s1, s2 * c1 + c2 * s1
        c4, s4 = 1 - 2 * s2 * s2, 2 * s2 * c2
        waves[u, 0], waves[u, 1], waves[u, 2], waves[u, 3], waves[u, 4] = c1, s1, c2, s2, c3
        waves[u, 5], waves[u, 6], waves[u, 7], waves[u, 8], waves[u, 9] = s3, c4, s4, c4 * c1 - s4 * s1, s4 * c1 + c4 * s1


@numba.njit(nogil=True, fastmath=_REORDER)
@no_type_check
def gaussian_sums(scores, time, targets, width, waves, out):
    """Write Gaussian-weighted sums at the targets to ``out``: sums over the window of scores times each wave, moved along with the window.

    Arguments: scores of the scored frames (frames, 8); their times and the full width of the window in whole microseconds, as float64, which holds
    them exactly; targets, ascending; the waves at the times (frames, 10); the result (targets, 8).
    """
    sums, last = np.zeros((TERMS + 1, CLASSES)), time.shape[0] - 1
    start = stop = 0
    for index in range(targets.shape[0]):
        target = targets[index]
        while True:
            enters = stop <= last and 2 * (time[stop] - time[target]) <= width
            leaves = 2 * (time[target] - time[start]) > width
            if not enters and not leaves:
                break
            added = min(stop, last)
            for k in range(CLASSES):
                sums[TERMS, k] += enters * scores[added, k] - leaves * scores[start, k]
            for term in range(TERMS):
                plus, minus = enters * waves[added, term], leaves * waves[start, term]
                for k in range(CLASSES):
                    sums[term, k] += plus * scores[added, k] - minus * scores[start, k]
            stop += enters
            start += leaves
        for k in range(CLASSES):
            out[index, k] = COSINES[0] * sums[TERMS, k]
        for term in range(TERMS):
            weight = COSINES[term // 2 + 1] * waves[target, term]
            for k in range(CLASSES):
                out[index, k] += weight * sums[term, k]


@numba.njit(nogil=True)
@no_type_check
def window_sums(sums, time, targets, width, out):
    """Write sums over the window at the targets to ``out``: differences of the cumulative sums (frames + 1, 8); see ``gaussian_sums``."""
    start = stop = 0
    for index in range(targets.shape[0]):
        center = time[targets[index]]
        while stop < time.shape[0] and 2 * (time[stop] - center) <= width:
            stop += 1
        while 2 * (center - time[start]) > width:
            start += 1
        for k in range(CLASSES):
            out[index, k] = sums[stop, k] - sums[start, k]


@numba.njit(nogil=True)
@no_type_check
def count_labels(scores, labels, bias, counts):
    """Add each row to the confusion matrix under the class with the largest score plus bias; of equal ones, the first."""
    for index in range(scores.shape[0]):
        best, highest = 0, scores[index, 0] + bias[0]
        for k in range(1, CLASSES):
            score = scores[index, k] + bias[k]
            if score > highest:
                best, highest = k, score
        counts[labels[index], best] += 1


@numba.njit(nogil=True)
@no_type_check
def count_by_bias(scores, labels, bias, target, first, step, counts):
    """Count each row under its best class besides the target, and under the first value of the target's bias that exceeds the margin to it."""
    for index in range(scores.shape[0]):
        best, highest = 0, -math.inf
        for k in range(CLASSES):
            score = scores[index, k] + bias[k]
            if k != target and score > highest:
                best, highest = k, score
        value = math.floor((highest - scores[index, target] - first) / step) + 1
        counts[min(max(value, 0), counts.shape[0] - 1), labels[index], best] += 1
