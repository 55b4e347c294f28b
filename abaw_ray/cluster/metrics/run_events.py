"""Curves of a run -> event files for TensorBoard in the folder of the run, written by the driver: they do not depend on any worker."""

import logging
import math
import re
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from abaw_ray.core.errors import StorageError
from abaw_ray.core.repeated import repeated
from abaw_ray.core.storage.storage import Storage

_LOG = logging.getLogger(__name__)
_INTERVAL_S = 180.0
"""Seconds between two uploads. Ours."""
_FILE = "events.out.tfevents.0000000000.abaw_ray"
"""Name of every event file; TensorBoard finds files by the first part."""


class _Point(NamedTuple):
    """One value of a curve."""

    tag: str
    value: float
    step: int
    time: float
    """Seconds since 1970."""


class RunEvents:
    """Writes the scalars of a run as event files, one folder per stage or training.

    Before ``uploaded`` and after it, scalars are discarded: a command without a record of its run has no folder for them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = False
        self._pending: dict[str, list[_Point]] = {}

    def add(self, name: str, scalars: Mapping[str, float], step: int) -> None:
        """Add one point to several curves; values that are not finite are left out.

        Args:
            name: The stage or training, which becomes a folder.
            scalars: Values by the name of the curve; ``/`` separates groups.
            step: Number of steps taken, or of items that have ended.
        """
        now = time.time()
        with self._lock:
            if self._active:
                points = [_Point(tag, value, step, now) for tag, value in scalars.items() if math.isfinite(value)]
                self._pending.setdefault(name, []).extend(points)

    @contextmanager
    def uploaded(self, storage: Storage, folder: str, interval_s: float = _INTERVAL_S) -> Iterator[None]:
        """Collect scalars while the block runs; upload the files every few minutes and at its end.

        Args:
            storage: Where the files go. If they cannot be written, there or on the local disk, the block is not disturbed.
            folder: Their folder below the storage root.
            interval_s: Seconds between two uploads.
        """
        files = _EventFiles(storage, folder)
        self._active = True
        try:
            with repeated(partial(self._upload, files), interval_s):
                yield
        finally:
            self._active = False
            self._upload(files)
            files.close()

    def _upload(self, files: "_EventFiles") -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        try:
            files.extend(pending)
            files.upload()
        except (StorageError, OSError) as error:
            _LOG.warning("the event files of the run could not be written: %s", error)


class _EventFiles:
    """Event files in a temporary folder, one per stage or training, and their copies in the storage."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage, self._folder = storage, folder
        self._lock = threading.Lock()
        self._writers: dict[str, Any] = {}
        self._local: dict[str, tempfile.TemporaryDirectory[str]] = {}
        self._uploaded: dict[str, int] = {}

    def extend(self, points: Mapping[str, Sequence[_Point]]) -> None:
        """Append points by the name of the stage or training.

        Raises:
            OSError: the local disk cannot be written.
        """
        # Not at the top: commands that only read settings import this module.
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] (defined at run time)
        from tensorboardX.summary import scalar

        with self._lock:
            for name, added in points.items():
                writer = self._writer(re.sub(r"[^\w.-]+", "_", name))
                for point in added:
                    writer.write_event(Event(wall_time=point.time, step=point.step, summary=scalar(point.tag, point.value)))
                writer.flush()

    def upload(self) -> None:
        """Replace the files that have grown in the storage.

        Raises:
            OSError: the local disk cannot be read.
            StorageError: the storage cannot be written; the next call tries again.
        """
        with self._lock:
            for name, local in self._local.items():
                (path,) = Path(local.name).iterdir()
                data = path.read_bytes()
                if len(data) != self._uploaded.get(name):
                    self._storage.write_bytes(f"{self._folder}/{name}/{_FILE}", data)
                    self._uploaded[name] = len(data)

    def close(self) -> None:
        """Delete the local files."""
        with suppress(OSError):  # of a full disk
            for writer in self._writers.values():
                writer.close()
        for local in self._local.values():
            local.cleanup()

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            # Not ``SummaryWriter``: its thread writes, and if it ends with an error, the next flush never returns.
            from tensorboardX.event_file_writer import EventsWriter

            self._local[name] = tempfile.TemporaryDirectory(prefix="abaw-events-")
            self._writers[name] = EventsWriter(f"{self._local[name].name}/events")
        return self._writers[name]
