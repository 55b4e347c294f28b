"""Selects the frames of a video that are scored, where fewer than all are wanted."""

import numpy as np
from jaxtyping import Bool, Float


def nearest_to_grid(times: Float[np.ndarray, " frames"], fps: float) -> Bool[np.ndarray, " frames"]:
    """Whether each frame is the nearest one to a time of a regular grid that begins at the first frame.

    A frame that is nearest to several grid times is selected once, so a video with a lower rate keeps all its frames.

    Args:
        times: Presentation times in seconds, ascending.
        fps: Rate of the grid per second; 0 selects every frame.
    """
    if not fps or not len(times):
        return np.ones(len(times), dtype=bool)
    grid = times[0] + np.arange(int(np.floor((times[-1] - times[0]) * fps + 0.5)) + 1) / fps
    after = np.searchsorted(times, grid).clip(max=len(times) - 1)
    before = (after - 1).clip(min=0)
    nearest = np.where(np.abs(grid - times[before]) <= np.abs(times[after] - grid), before, after)
    selected = np.zeros(len(times), dtype=bool)
    selected[nearest] = True
    return selected
