"""A long video and a short one through a worker -> the private memory that it takes, its own and that of the child that decodes for it."""

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import psutil

from abaw_ray.core.errors import ItemError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.faces.config import FacesConfig
from abaw_ray.faces.detection.weights import yunet_weights
from abaw_ray.faces.isolated import IsolatedFaceWriter
from tools.bench.video.cost import video_row

EVERY = 0.1
"""Seconds between two looks."""
_MB = 2**20


class Peaks:
    """While it is open, another thread looks at named numbers again and again; ``highest`` keeps the largest of each, and of their sum."""

    def __init__(self, **looks: Callable[[], float]) -> None:
        self.looks, self.highest = looks, dict.fromkeys([*looks, "sum"], 0.0)
        self._over, self._thread = threading.Event(), threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            here = {name: look() for name, look in self.looks.items()}
            for name, value in (here | {"sum": sum(here.values())}).items():
                self.highest[name] = max(self.highest[name], value)


def private_mb(pid: int | None) -> float:
    """Memory of a process that no other one shares, in units of 2^20 bytes; 0 for one that is gone."""
    try:
        return psutil.Process(pid).memory_full_info().uss / _MB if pid else 0.0
    except psutil.Error:
        return 0.0


def resident_mb(pid: int) -> float:
    """All memory of a process that is not swapped out, shared or not, in units of 2^20 bytes."""
    return psutil.Process(pid).memory_info().rss / _MB


def worker_memory(config: FacesConfig, path: Path) -> dict[str, float]:
    """One video through a worker's ``IsolatedFaceWriter``; call it in a process of its own, which then stands for the actor (Ray's part in it aside).

    Returns:
        Peaks in MB: ``parent``, ``child`` and their ``sum`` at one moment; and ``frames``.

    Raises:
        ItemError: the video broke.
    """
    import abaw_ray.cluster.stages.faces  # noqa: F401 - what an actor has loaded

    parts = IsolatedFaceWriter(config, ChildLimits(), yunet_weights(config.detector.weights))
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        with Peaks(parent=lambda: private_mb(os.getpid()), child=lambda: private_mb(parts.chances.child.pid)) as peaks:
            done = parts.write_video(video_row(path), Path(folder) / "part.parquet")
        parts.close()
    if done.error is not None:
        raise ItemError(f"{path}: {done.error}")
    return peaks.highest | {"frames": done.frames}
