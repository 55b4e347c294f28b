"""Training readers of Stage I in threads and in processes: views per second, and the time of a view outside of OpenCV.

A step's views are those of the job: ``EncoderTask.micro_batches``. Nothing uses them, so the readers are the limit.
"""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from abaw_ray.encoder.config import EncoderConfig, ModelConfig
from abaw_ray.encoder.images import ImageSet
from abaw_ray.encoder.task import EncoderTask
from abaw_ray.training.loop import Prefetcher

_OPENCV = ("imdecode", "imencode", "resize", "warpAffine", "LUT", "filter2D", "GaussianBlur", "cvtColor", "transform")
"""OpenCV's functions that a view uses; they release Python's global lock while they compute."""


@dataclass(frozen=True, kw_only=True)
class Readers:
    """The work of every reader; sent to every process."""

    images: Path
    """The memory-mapped images."""
    steps: int
    """Timed steps of a run, after one per reader."""
    views: int
    """Views of a step."""

    def task(self) -> EncoderTask:
        """The task whose steps are read: the paper's settings, one micro-batch of ``views`` images."""
        config = EncoderConfig(model=ModelConfig(weights="random"), global_batch_size=self.views)
        return EncoderTask(config, ImageSet(self.images))


def threads(work: Readers, count: int) -> float:
    """Views per second of this many threads, as the job's."""
    readers, task = Prefetcher(count), work.task()
    rate = _rate(work, readers(range(count + work.steps), task.micro_batches), count)
    readers.close()
    return rate


class Processes:
    """Readers that live as long as this object, so that the time of their start is not measured."""

    def __init__(self, work: Readers, count: int) -> None:
        """Start the processes, which import their modules and open the images."""
        self.work, self.count = work, count
        self._pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=_start, initargs=(work,))
        list(self._pool.map(_read_and_drop, range(4 * count)))

    def rate(self, *, transfer: bool) -> float:
        """Views per second; without ``transfer`` the pixels stay in the processes, so the rate is a limit for any way of moving them."""
        return _rate(self.work, self._pool.map(_read if transfer else _read_and_drop, range(self.count + self.work.steps)), self.count)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown()


def _rate(work: Readers, results: Iterator[Any], count: int) -> float:
    for _ in range(count):
        next(results)
    start = time.perf_counter()
    steps = sum(1 for _ in results)
    return steps * work.views / (time.perf_counter() - start)


_TASK: list[EncoderTask] = []
"""The task of a reader's process."""


def _start(work: Readers) -> None:
    _TASK.append(work.task())


def _read(step: int) -> np.ndarray:
    (batch,) = _TASK[0].micro_batches(step)
    return batch.pixels.numpy()


def _read_and_drop(step: int) -> int:
    return len(_read(step))


def milliseconds_of_a_view(work: Readers) -> dict[str, float]:
    """Milliseconds of a view in one thread, in all and outside of OpenCV: the latter is the most for which a view can hold Python's global lock."""
    task = work.task()
    task.micro_batches(0)
    with _timed_opencv() as opencv:
        start = time.perf_counter()
        for step in range(1, 1 + work.steps):
            task.micro_batches(step)
        seconds, views = time.perf_counter() - start, work.steps * work.views
    return {"view_ms": seconds / views * 1e3, "outside_opencv_ms": (seconds - sum(opencv)) / views * 1e3}


@contextmanager
def _timed_opencv() -> Iterator[list[float]]:
    """The seconds of every call of OpenCV while the block runs."""
    seconds, originals = [], {name: getattr(cv2, name) for name in _OPENCV}

    def timed(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds.append(time.perf_counter() - start)

        return call

    for name, function in originals.items():
        setattr(cv2, name, timed(function))
    try:
        yield seconds
    finally:
        for name, function in originals.items():
            setattr(cv2, name, function)
