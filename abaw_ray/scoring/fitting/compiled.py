"""Loops over frames that numba compiles: smoothing at the labelled frames, counting, and the scan over one class's bias.

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

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.scoring.smoothing import COSINE_HALF_PERIOD, COSINES, SIGMAS

CLASSES = len(EXPRESSIONS)
TERMS = 2 * (len(COSINES) - 1)
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
def _fill_waves(time, cycles, waves):  # numba types the arguments; the callers' annotations check the shapes
    """Cosine and sine of 1 to 5 times the phase ``2 * pi * cycles * time``, by the double-angle formulas: rows cos, sin, cos, sin, ..."""
    w0, w1, w2, w3, w4 = waves[0], waves[1], waves[2], waves[3], waves[4]
    w5, w6, w7, w8, w9 = waves[5], waves[6], waves[7], waves[8], waves[9]
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
        w0[u], w1[u], w2[u], w3[u], w4[u], w5[u], w6[u], w7[u] = c1, s1, c2, s2, c3, s3, c4, s4
        w8[u], w9[u] = c4 * c1 - s4 * s1, s4 * c1 + c4 * s1


@numba.njit(nogil=True, fastmath=_REORDER)
@no_type_check
def _gaussian(scores, time, targets, width, waves, out):
    """Gaussian-weighted sums at the target rows: sums over the window of scores times each wave, moved along with the window."""
    _fill_waves(time, SIGMAS / (2 * COSINE_HALF_PERIOD * width), waves)
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
                plus, minus = enters * waves[term, added], leaves * waves[term, start]
                for k in range(CLASSES):
                    sums[term, k] += plus * scores[added, k] - minus * scores[start, k]
            stop += enters
            start += leaves
        for k in range(CLASSES):
            out[index, k] = COSINES[0] * sums[TERMS, k]
        for term in range(TERMS):
            weight = COSINES[term // 2 + 1] * waves[term, target]
            for k in range(CLASSES):
                out[index, k] += weight * sums[term, k]


@numba.njit(nogil=True)
@no_type_check
def _mean(sums, time, targets, width, out):
    """Sums over the window at the target rows, as differences of cumulative sums."""
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
        best = 0
        for k in range(1, CLASSES):
            if scores[index, k] + bias[k] > scores[index, best] + bias[best]:
                best = k
        counts[labels[index], best] += 1


@numba.njit(nogil=True)
@no_type_check
def smooth_rows(scores, sums, time, targets, gaussian, width, waves, out):
    """Smoothed rows of the targets, up to a factor per row: each is a weighted sum over its window.

    Arguments: scores of the scored rows (frames, 8); their cumulative sums from 0 (frames + 1, 8); times and ``width`` (the full window) in whole
    microseconds, as float64, which holds them exactly; rows to smooth, ascending; whether the weights are Gaussian; working memory (10, frames);
    the result (targets, 8).
    """
    if width == 0:
        for index in range(targets.shape[0]):
            out[index] = scores[targets[index]]
    elif gaussian:
        _gaussian(scores, time, targets, width, waves, out)
    else:
        _mean(sums, time, targets, width, out)


@numba.njit(nogil=True)
@no_type_check
def count_grid(scores, sums, time, targets, labels, gaussian, width, counts):
    """Add the confusion matrix of every setting to ``counts``; all settings share one array of rows, which stays in the CPU's cache."""
    waves, out, no_bias = np.empty((TERMS, time.shape[0])), np.empty((targets.shape[0], CLASSES)), np.zeros(CLASSES)
    for setting in range(width.shape[0]):
        smooth_rows(scores, sums, time, targets, gaussian[setting], width[setting], waves, out)
        count_labels(out, labels, no_bias, counts[setting])


@numba.njit(nogil=True)
@no_type_check
def count_by_bias(scores, labels, bias, target, first, step, counts):
    """Count each row under its best class besides the target, and under the first value of the target's bias that exceeds the margin to it."""
    for index in range(scores.shape[0]):
        best = 1 if target == 0 else 0
        for k in range(best + 1, CLASSES):
            if k != target and scores[index, k] + bias[k] > scores[index, best] + bias[best]:
                best = k
        margin = scores[index, best] + bias[best] - scores[index, target]
        value = min(max(math.floor((margin - first) / step) + 1, 0), counts.shape[0] - 1)
        counts[value, labels[index], best] += 1
