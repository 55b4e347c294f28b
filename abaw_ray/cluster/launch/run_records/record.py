"""The record of a run: a small file for each command that ran stages, so that runs can be listed and compared. There is no other index."""

import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.settings import from_plain, to_plain
from abaw_ray.core.storage.storage import Storage

RUNS_FOLDER = "runs"
"""Folder below the storage root with one folder per run."""
_RECORD, _SETTINGS, _SUMMARY = "run.json", "settings.json", "summary.json"
Status = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class StageRun:
    """One stage in one run."""

    seconds: float
    """Wall time in this run; about 0 where the stage was already done."""
    already_done: bool
    """Whether the stage was complete before."""
    items: int
    """Number of its outputs."""
    failed: int
    """Number of items that failed."""
    machine_hours: dict[str, float] = field(default_factory=dict)
    """Type of machine -> hours, summed over the machines that were there."""
    usd: float | None = None
    """Cost of these machine hours, by the prices of the cluster file; None where a type of machine has no price."""
    finished: bool = True
    """Whether the stage came to its end; without it, seconds and machine hours are those until it failed, or until the last sample."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one command did."""

    id: str
    """UTC time of its start, and random characters: sorted by name is sorted by time."""
    command: str
    """Name of the command: pipeline."""
    status: Status
    """``running`` until its end; also of a run that was killed."""
    error: str = ""
    """The line that the user saw, where it failed."""
    started: str
    """UTC time, ISO 8601."""
    finished: str = ""
    """UTC time, ISO 8601; empty while it runs."""
    settings: str
    """Digest of all settings that affect results."""
    code: str
    """Digest of the package's files."""
    git: str
    host: str
    prices: str = ""
    """Day of the prices, ISO 8601; empty without prices."""
    stages: dict[str, StageRun] = field(default_factory=dict)
    """Name -> the stage in this run, in the order in which they ran."""
    scores: dict[str, float] = field(default_factory=dict)
    """Name -> macro-F1; empty where the command computes none."""
    recordings: dict[str, str] = field(default_factory=dict)
    """Stage -> table of its confusion matrices by recording, below the storage root."""

    @property
    def machine_hours(self) -> dict[str, float]:
        """Type of machine -> hours of all stages."""
        total: dict[str, float] = {}
        for stage in self.stages.values():
            for kind, hours in stage.machine_hours.items():
                total[kind] = total.get(kind, 0.0) + hours
        return total

    @property
    def usd(self) -> float | None:
        """Cost of all stages; None where that of one with machine hours is not known."""
        costs = [stage.usd for stage in self.stages.values() if stage.machine_hours]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if known and len(known) == len(costs) else None


class RunFolder:
    """The files of one run."""

    def __init__(self, storage: Storage, run_id: str) -> None:
        self.storage, self.path = storage, f"{RUNS_FOLDER}/{run_id}"

    def write(self, record: RunRecord) -> None:
        """Write the record, replacing that of an earlier moment."""
        self._write(_RECORD, to_plain(record))

    def write_settings(self, settings: Any) -> None:
        """Write all settings."""
        self._write(_SETTINGS, to_plain(settings))

    def write_summary(self, summary: dict[str, Any]) -> str:
        """Write scores, stages, submission and failures of a pipeline; returns the URI."""
        return self._write(_SUMMARY, summary)

    def settings(self) -> dict[str, Any]:
        """All settings."""
        return json.loads(self.storage.read_bytes(f"{self.path}/{_SETTINGS}"))

    def summary(self) -> dict[str, Any] | None:
        """What ``write_summary`` wrote; None where it was not called."""
        path = f"{self.path}/{_SUMMARY}"
        return json.loads(self.storage.read_bytes(path)) if self.storage.exists(path) else None

    def _write(self, name: str, value: Any) -> str:
        self.storage.write_bytes(f"{self.path}/{name}", json.dumps(value, indent=1).encode())
        return self.storage.uri(f"{self.path}/{name}")


def list_runs(storage: Storage) -> list[RunRecord]:
    """The records of all runs in a storage, the oldest first.

    Raises:
        DataError: a record cannot be read by this version.
    """
    paths = [path for path in storage.files(RUNS_FOLDER, recursive=True) if path.endswith(f"/{_RECORD}")]
    return [_read(storage, f"{RUNS_FOLDER}/{path}") for path in paths]


def find_run(storage: Storage, name: str) -> RunRecord:
    """The run whose id begins with this text; ``last`` is the last one.

    Raises:
        ConfigError: there is no such run, or there are several.
    """
    runs = list_runs(storage)
    found = runs[-1:] if name == "last" else [run for run in runs if run.id.startswith(name)]
    if len(found) != 1:
        problem = f"{len(found)} runs begin with it" if found else "there is no such run"
        raise ConfigError(f"{storage.uri(RUNS_FOLDER)}: {name}: {problem}; `abaw-ray runs` lists all {len(runs)}")
    return found[0]


def _read(storage: Storage, path: str) -> RunRecord:
    try:
        return _parsed(storage, path)
    except (ValueError, ConfigError):
        time.sleep(1.0)  # replaced between the two requests of a read (size, content), the content may be cut off; the second read is whole
    try:
        return _parsed(storage, path)
    except (ValueError, ConfigError) as error:
        raise DataError(f"{storage.uri(path)}: not a record of a run ({error}); delete the file") from error


def _parsed(storage: Storage, path: str) -> RunRecord:
    return from_plain(RunRecord, json.loads(storage.read_bytes(path)))
