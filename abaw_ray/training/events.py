"""Scalars of a training -> event files for TensorBoard, one file for the steps between two checkpoints.

The name of a file has its first step. A run that resumes from a checkpoint takes the steps after it again and so replaces their file: no step is
lost, and none occurs twice. TensorBoard reads the files of a folder in the order of their names.
"""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tensorboardX import SummaryWriter

from abaw_ray.core.storage.storage import Storage


class Scalar(NamedTuple):
    """One value of a curve."""

    tag: str
    """Name of the curve; ``/`` separates groups."""
    value: float
    step: int
    """Number of steps taken."""
    time: float
    """Seconds since 1970."""


def write_events(folder: Path, scalars: Iterable[Scalar], first_step: int) -> Path:
    """Write an event file into a folder without other event files; returns its path.

    Args:
        folder: The folder, which is made if it does not exist.
        scalars: Content of the file.
        first_step: Number of steps taken before its first one.
    """
    with SummaryWriter(str(folder)) as writer:
        for scalar in scalars:
            writer.add_scalar(scalar.tag, scalar.value, scalar.step, walltime=scalar.time)
    (written,) = folder.glob("events.out.tfevents.*")
    return written.rename(folder / f"events.out.tfevents.{first_step:010d}.abaw_ray")


class EventLog:
    """Collects scalars and uploads them whenever a checkpoint is written."""

    def __init__(self, storage: Storage, folder: str, step: int) -> None:
        """Begin after a number of steps; from the start, files of an earlier run are deleted.

        Args:
            storage: The storage.
            folder: Folder of the event files below the storage root.
            step: Number of steps taken.
        """
        self.storage, self.folder, self.first_step = storage, folder, step
        self._scalars: list[Scalar] = []
        if step == 0:
            storage.delete(folder)

    def add(self, tag: str, value: float, step: int, moment: float | None = None) -> None:
        """Add a value after a number of steps, at a time in seconds since 1970; now where None."""
        self._scalars.append(Scalar(tag, value, step, time.time() if moment is None else moment))

    def upload(self, step: int) -> None:
        """Upload what was added since the last upload; ``step`` is the number of steps taken."""
        with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
            path = write_events(Path(folder), self._scalars, self.first_step)
            self.storage.put_file(path, f"{self.folder}/{path.name}")
        self._scalars, self.first_step = [], step
