"""Checks of FACE rows in tests."""

import numpy as np


def has_every_frame(rows, count):
    """Whether there is one row for each of the frames 1 to ``count``, in ascending order of time."""
    return [row["frame"] for row in rows] == list(range(1, count + 1)) and (np.diff([row["time"] for row in rows]) > 0).all()
