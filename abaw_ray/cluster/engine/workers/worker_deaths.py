"""Deaths of worker processes, counted per task: after the second one the task's item is a failure, instead of being repeated without end.

Media work runs in child processes, whose crashes are counted there (``crash_retry``). Work with models runs in the worker's own process, and Ray
repeats the tasks of a process that died (out of memory, a crash in native code) as often as it dies. So a worker registers each task that it begins
with an actor on the driver's node: a task that begins again in another process although it never ended was in work when its former process died.
"""

import json
import tempfile
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abaw_ray.cluster.engine.workers.driver_node import alive_nodes, start_on_driver_node
from abaw_ray.core.errors import ItemError, StorageError

MAX_DEATHS = 2
"""Deaths of a worker's process after which a task is given up. Ours, as for child processes (``crash_retry``)."""
_CAUSE = "it ran out of memory, or a model or a library crashed"
_GIVEN_UP = (
    f"its worker's process died twice while it was processed, the second time with no other item in it: {_CAUSE};"
    " give workers more memory (compute.*.memory-gb) and add --retry-failures, or leave it out"
)
_NOT_BUILT = f"a worker's process died twice while it loaded its models: {_CAUSE}; lower the number of workers (compute.*.workers)"


@dataclass(frozen=True)
class _Place:
    """The process that is processing a task, and its node."""

    process: str
    node: str


class WorkerDeaths:
    """Ray actor that counts deaths by task. Ray's memory monitor kills it as well as workers, so its state is in a file, and a restart reads it."""

    def __init__(self, journal: Path) -> None:
        """Continue where the journal ends.

        Args:
            journal: Local file with one line for each change; it need not exist.
        """
        self._running: dict[str, _Place] = {}
        self._death_nodes: dict[str, list[str]] = defaultdict(list)
        for line in journal.read_text().splitlines() if journal.exists() else ():
            self._apply(*json.loads(line))
        self._journal = journal

    def begin(self, key: str, process: str, node: str, alone: bool) -> int:
        """Register that a process begins a task; returns the number of deaths during it.

        A task with deaths is registered only where it is processed alone, and a task that is given up is not registered.

        Args:
            key: The task.
            process: Unique name of the process.
            node: Hexadecimal id of its node.
            alone: Whether the process does nothing else meanwhile.
        """
        former = self._running.get(key)
        if former and former.process != process:
            self._change("death", key, former.node)
        elif former:  # the same process begins again after a lost response
            self._change("end", key)
        deaths = self._count(key)
        if deaths == 0 or (alone and deaths < MAX_DEATHS):
            self._change("begin", key, process, node)
        return deaths

    def end(self, key: str) -> None:
        """Register that a task ended, with whatever outcome."""
        self._change("end", key)

    def _change(self, *change: str) -> None:
        with self._journal.open("ab", buffering=0) as file:  # a line is one write, which the end of the process cannot divide
            file.write(f"{json.dumps(change)}\n".encode())
        self._apply(*change)

    def _apply(self, kind: str, key: str, *place: str) -> None:
        if kind == "begin":
            self._running[key] = _Place(*place)
            return
        self._running.pop(key, None)
        if kind == "death":
            self._death_nodes[key].extend(place)

    def _count(self, key: str) -> int:
        """Deaths on machines that still run: a machine that is lost or interrupted ends its processes whatever they do."""
        nodes = self._death_nodes.get(key, [])
        if not nodes:
            return 0
        alive = alive_nodes()
        return sum(node in alive for node in nodes)


class TaskRegistration:
    """Registers the tasks of one process. A task during which a process died is processed alone: its former neighbor may have been the cause."""

    def __init__(self, deaths: Any, node: str, worker: str) -> None:
        """Nothing is called.

        Args:
            deaths: Actor of ``WorkerDeaths``; with None, nothing is registered.
            node: Hexadecimal id of the process's node.
            worker: Id of the actor, the same after a restart.
        """
        self._deaths, self._node, self._worker = deaths, node, worker
        self._process = uuid.uuid4().hex
        self._tasks, self._changed, self._alone = 0, threading.Condition(), False

    @contextmanager
    def task(self, key: str) -> Iterator[int]:
        """Register a task while the block runs; yields the number of processes that died during it before.

        Raises:
            ItemError: it is given up.
        """
        if self._deaths is None:
            yield 0
            return
        with self._shared():
            deaths = self._begin(key, alone=False)
            if not deaths:
                with self._ended(key):
                    yield 0
                return
        if deaths >= MAX_DEATHS:
            raise ItemError(_GIVEN_UP)
        with self._exclusive():
            deaths = self._begin(key, alone=True)
            if deaths >= MAX_DEATHS:
                raise ItemError(_GIVEN_UP)
            with self._ended(key):
                yield deaths

    @contextmanager
    def build(self) -> Iterator[None]:
        """Register the building of the work while the block runs.

        Raises:
            StorageError: processes of this worker died during it too often on this machine; its items are left to others.
        """
        if self._deaths is None:
            yield
            return
        key = f"build {self._node} {self._worker}"
        if self._begin(key, alone=True) >= MAX_DEATHS:
            raise StorageError(_NOT_BUILT)
        with self._ended(key):
            yield

    def _begin(self, key: str, *, alone: bool) -> int:
        import ray

        return ray.get(self._deaths.begin.remote(key, self._process, self._node, alone))

    @contextmanager
    def _ended(self, key: str) -> Iterator[None]:
        try:
            yield
        finally:
            self._deaths.end.remote(key)  # not awaited: if it is lost with the process, a finished task is not begun again

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """Run the block beside others, but not beside one that is alone or waits to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._tasks += 1
        try:
            yield
        finally:
            with self._changed:
                self._tasks -= 1
                self._changed.notify_all()

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Run the block while no other runs."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
            self._changed.wait_for(lambda: self._tasks == 0)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


@contextmanager
def worker_deaths() -> Iterator[Any]:
    """An actor of ``WorkerDeaths`` on the driver's node while the block runs."""
    with tempfile.TemporaryDirectory(prefix="abaw-deaths-") as folder:
        yield start_on_driver_node(WorkerDeaths, Path(folder) / "journal")
