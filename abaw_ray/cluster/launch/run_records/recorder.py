"""Records a run while it goes on: at its start, after each stage, and at its end with what ended it."""

import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from abaw_ray.cluster.cost.prices import prices_for
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage
from abaw_ray.cluster.launch.run_records.machine_hours import MachineHours, machines_now
from abaw_ray.cluster.launch.run_records.record import RunFolder, RunRecord, StageRun
from abaw_ray.cluster.stages.stage_two.tables import RECORDINGS_FILE
from abaw_ray.core.errors import StorageError
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.provenance import code_digest, git_revision
from abaw_ray.core.stage_store.record import Record

FINISH = "finish"
"""Name in the record of what follows the last stage."""
EVENTS_FOLDER = "tensorboard"
"""Folder of the event files in that of the run."""
_WRITE_INTERVAL_S = 180.0
"""Seconds between two records while a stage runs, which a killed run leaves behind. Ours."""


class Recorder:
    """Keeps the record of one run up to date in its folder."""

    def __init__(self, run: Run[Any]) -> None:
        self.run, self.folder, self.prices = run, RunFolder(run.storage, run.id), prices_for(run.config.cluster_file)
        self.record = RunRecord(
            id=run.id,
            command=run.command,
            status="running",
            started=_now(),
            settings=digest(run.config),
            code=code_digest(),
            git=git_revision(),
            host=socket.gethostname(),
            prices=self.prices.date,
        )
        self.hours = MachineHours(partial(machines_now, run.session), on_sample=self._sampled)
        self._lock, self._stage, self._written = threading.RLock(), ("", 0.0), time.monotonic()

    def complete(self, stage: Stage[Any]) -> Record:
        """Bring a stage to completion and record it.

        Raises:
            AbawError: as ``Stage.complete``.
        """
        before = self.run.records.get(stage.name)
        self._begin(stage.name)
        record = stage.complete(self.run)
        already_done = before is not None and before.finished == record.finished
        self._end(already_done=already_done, items=len(record.outputs), failed=len(record.failures), record=record)
        return record

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Record what the block does, after the last stage, as a stage of its own: the report, the model, deleting what is not kept."""
        self._begin(FINISH)
        yield
        self._end(items=0, failed=0)

    def _begin(self, name: str) -> None:
        self.hours.begin(name)
        with self._lock:
            self.record = dataclasses.replace(self.record, stages=self._stages())  # with one whose error did not end the run
            self._stage = (name, time.monotonic())

    def _end(self, *, record: Record | None = None, **counts: Any) -> None:
        self.hours.sample()
        with self._lock:
            (name, _), ran, last = self._stage, self._ran(**counts), self.record
            self._stage = ("", 0.0)
            scores, recordings = (scores_of(record), recordings_of(record)) if record else ({}, {})
            self.update(stages=last.stages | {name: ran}, scores=last.scores | scores, recordings=last.recordings | recordings)

    def update(self, **changes: Any) -> None:
        """Change these fields of the record and write it, with the stage that runs."""
        with self._lock:
            self.record = dataclasses.replace(self.record, **changes)
            self._written = time.monotonic()
            self.folder.write(dataclasses.replace(self.record, stages=self._stages()))

    def _stages(self) -> dict[str, StageRun]:
        """The stages of the record, with the one that runs, until now."""
        name, _ = self._stage
        return self.record.stages | ({name: self._ran(items=0, failed=0, finished=False)} if name else {})

    def _ran(self, **counts: Any) -> StageRun:
        """The stage that runs, until now."""
        name, started = self._stage
        hours = self.hours.of(name)
        usd = self.prices.usd(hours)
        counts = {"already_done": False} | counts
        return StageRun(seconds=round(time.monotonic() - started, 2), machine_hours=hours, usd=None if usd is None else round(usd, 4), **counts)

    def _sampled(self) -> None:
        """Write the record now and then, in the thread that samples."""
        if self._stage[0] and time.monotonic() - self._written >= _WRITE_INTERVAL_S:
            with suppress(StorageError):  # the next one is written again
                self.update()


@contextmanager
def recorded(run: Run[Any]) -> Iterator[Recorder]:
    """Record the run while the block runs, and how it ended."""
    recorder = Recorder(run)
    recorder.folder.write_settings(run.config)
    recorder.update()
    with recorder.hours.sampled():
        try:
            with run.events.uploaded(run.storage, f"{recorder.folder.path}/{EVENTS_FOLDER}"):
                yield recorder
            recorder.update(status="done", finished=_now())
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            recorder.hours.sample()
            text = "" if stopped else " ".join(str(error).split())[:500] or type(error).__name__
            with suppress(StorageError):  # the first error counts
                recorder.update(status="stopped" if stopped else "failed", error=text, finished=_now())
            raise


def scores_of(record: Record) -> dict[str, float]:
    """The scores of a stage, macro-F1 by name: of Stage I on each data set, of five folds, and of the official validation."""
    figures = record.figures
    if record.stage == "encoder":
        return {f"encoder {name}": scores["macro_f1"] for name, scores in figures.get("data_sets", {}).items()}
    if record.stage == "fusion":
        return {"cv": figures["cv"]["cross_fitted"]["mean"]}
    return {"official_val": figures["official_val"]["macro_f1"]} if record.stage == "predictions" else {}


def recordings_of(record: Record) -> dict[str, str]:
    """Stage -> its table of confusion matrices by recording, of the stages that have one."""
    folders = {"fusion": "/cv", "predictions": ""}
    return {record.stage: f"{record.run_output}{folders[record.stage]}/{RECORDINGS_FILE}"} if record.stage in folders else {}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
