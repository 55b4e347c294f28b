"""Definitions of gap filling and smoothing, frame by frame, and random scores to compare them on."""

import numpy as np


def microseconds(seconds):
    return [round(one * 1e6) for one in np.atleast_1d(seconds).tolist()]


def near(time, scored, t, window_s):
    us, (width,) = microseconds(time), microseconds(window_s)
    return [u for u in range(len(us)) if 2 * abs(us[u] - us[t]) <= width and scored[u]]


def slow_mean(scores, time, scored, window_s):
    out = np.full(scores.shape, np.nan)
    for t in range(len(scored)):
        if inside := near(time, scored, t, window_s):
            out[t] = scores[inside].mean(axis=0)
    return out


def slow_gaussian(scores, time, scored, window_s):
    out, us, sigma = np.full(scores.shape, np.nan), microseconds(time), microseconds(window_s)[0] / 4
    for t in range(len(scored)):
        if inside := near(time, scored, t, window_s):
            out[t] = np.average(scores[inside], axis=0, weights=[np.exp(-((us[u] - us[t]) ** 2) / (2 * sigma**2)) for u in inside])
    return out


SLOW = {"mean": slow_mean, "gaussian": slow_gaussian}


def slow_fill(scores, time, scored, max_gap_s):
    out, known, us = np.where(scored[:, None], scores, np.nan), scored.copy(), microseconds(time)
    for t in np.flatnonzero(~scored):
        before = [u for u in range(t) if scored[u]]
        after = [u for u in range(t + 1, len(scored)) if scored[u]]
        begin, end = us[before[-1] if before else 0], us[after[0] if after else -1]
        if not (before or after) or end - begin > microseconds(max_gap_s)[0]:
            continue
        known[t] = True
        if before and after:
            part = (us[t] - begin) / (end - begin)
            out[t] = (1 - part) * scores[before[-1]] + part * scores[after[0]]
        else:
            out[t] = scores[before[-1]] if before else scores[after[0]]
    return out, known


def make_scores(share, frames=200, seed=0):
    """Rows that sum to 1, times at a variable rate of 6 to 60 per second, and which frames have a score."""
    rng = np.random.default_rng(seed)
    scores = rng.random((frames, 8)) + 0.01
    time = np.cumsum(rng.uniform(1 / 60, 1 / 6, size=frames)).round(6)
    return scores / scores.sum(axis=1, keepdims=True), time, rng.random(frames) < share
