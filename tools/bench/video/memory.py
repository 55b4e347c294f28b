"""Private memory of a worker and of its decoding child process, while it processes one video."""

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

INTERVAL_S = 0.1
"""Sampling interval."""
_MIB = 2**20


class PeakSampler:
    """A context in which a thread samples named values; ``peaks`` has the maximum of each, and of their sum."""

    def __init__(self, **values: Callable[[], float]) -> None:
        self.values, self.peaks = values, dict.fromkeys([*values, "sum"], 0.0)
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            sample = {name: value() for name, value in self.values.items()}
            for name, value in (sample | {"sum": sum(sample.values())}).items():
                self.peaks[name] = max(self.peaks[name], value)


def private_mb(pid: int | None) -> float:
    """Return the unique set size of a process in MiB; 0 if it has ended."""
    try:
        return psutil.Process(pid).memory_full_info().uss / _MIB if pid else 0.0
    except psutil.Error:
        return 0.0


def resident_mb(pid: int) -> float:
    """Return the resident set size of a process in MiB, shared memory included."""
    return psutil.Process(pid).memory_info().rss / _MIB


def worker_memory(config: FacesConfig, path: Path) -> dict[str, float]:
    """Process one video with a worker's ``IsolatedFaceWriter``. Call it in a new process, which corresponds to the actor without Ray's own memory.

    Returns:
        Peaks in MiB: ``parent``, ``child``, and ``sum`` (peak of their sum); and ``frames``.

    Raises:
        ItemError: the video is damaged.
    """
    import abaw_ray.cluster.stages.faces  # noqa: F401 - loaded in an actor too

    writer = IsolatedFaceWriter(config, ChildLimits(), yunet_weights(config.detector.weights))
    with tempfile.TemporaryDirectory(prefix="abaw-bench-") as folder:
        with PeakSampler(parent=lambda: private_mb(os.getpid()), child=lambda: private_mb(writer.crash_retry.child.pid)) as sampler:
            result = writer.write_video(video_row(path), Path(folder) / "output.parquet")
        writer.close()
    if result.error is not None:
        raise ItemError(f"{path}: {result.error}")
    return sampler.peaks | {"frames": result.frames}
