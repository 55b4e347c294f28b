"""The outputs of a stage in storage, and the record that marks them as complete.

A stage's store is a folder named by the digest of everything that affects the outputs in it. Each item has one output, written atomically; the
record comes last: without a record there is no result. This module does not depend on the content of outputs or on where the work runs.
"""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from abaw_ray.core.errors import ItemError, StageError
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.storage.storage import Storage

_PACKAGE = Path(__file__).parents[2]
"""Folder of this package."""
_PACKAGES = ("ray", "torch", "transformers", "timm", "deepspeed", "av", "pyarrow", "scikit-learn", "opencv-python-headless", "numpy")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One unit of a stage's work: a video, an image set, a training run."""

    name: str
    """Its name for the user, such as the path of a video."""
    identity: str
    """Changes whenever the content may have changed: a digest of URI, size and modification time, or of the outputs that a run reads."""

    @property
    def key(self) -> str:
        """The file name of its output: readable, and different for every identity."""
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', self.name)[-60:]}-{digest([self.name, self.identity], 12)}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """States that a stage is complete for a set of items, and how its outputs were made."""

    stage: str
    store: str
    """Path of the stage's store below the storage root."""
    outputs: dict[str, str]
    """Item name -> path of its output below the storage root. A failed item has one only if some of its frames were good."""
    failures: list[dict]
    """``FAILURE`` rows; an item that failed after a last good frame has an output as well."""
    settings: dict
    inputs: list[str]
    """As in ``StageStore.inputs``."""
    figures: dict[str, Any]
    """Values that the stage reports."""
    seconds: float
    """Wall time of the run that completed the set, in seconds; about 0 where all outputs existed already."""
    revision: int
    versions: dict[str, str] = field(default_factory=dict)
    code: str = ""
    """Digest of this package's files."""
    git: str = ""
    finished: str = ""
    """UTC time, ISO 8601."""

    @property
    def identity(self) -> str:
        """Digest of exactly these outputs; part of the address of the next stage."""
        return digest([self.store, self.outputs])


@dataclass(frozen=True)
class StageStore:
    """The folder with one stage's results for one choice of settings. All paths are relative to the storage root."""

    storage: Storage
    stage: str
    settings: Any
    revision: int
    inputs: tuple[str, ...] = ()
    """Paths of input stores, and identities of other inputs, that affect every output."""

    @property
    def path(self) -> str:
        """The store's folder below the storage root."""
        key = digest({"settings": self.settings, "revision": self.revision, "inputs": list(self.inputs)})
        return f"{self.stage}/{key}"

    def output(self, item: Item, suffix: str = ".parquet") -> str:
        """Path of an item's output; a run that writes several files uses a folder (``suffix=""``) and ``complete_folder``."""
        return f"{self.path}/outputs/{item.key}{suffix}"

    def exists(self, item: Item) -> bool:
        """Whether the item's output, one Parquet file, exists."""
        return self.storage.exists(self.output(item))

    def rows(self, item: Item) -> int:
        """Number of rows of the item's output, from the file's footer."""
        return self.storage.table_rows(self.output(item))

    def complete_folder(self, item: Item, figures: dict[str, Any]) -> None:
        """Mark an output of several files as complete: the list of its files with their sizes is written after all of them."""
        folder = self.output(item, "")
        files = self.storage.files(folder, recursive=True)
        body = {"files": files, "figures": to_plain(figures)}
        self.storage.write_bytes(f"{folder}/output.json", json.dumps(body, indent=1).encode())

    def folder_figures(self, item: Item) -> dict[str, Any]:
        """The figures given to ``complete_folder``."""
        return json.loads(self.storage.read_bytes(f"{self.output(item, '')}/output.json"))["figures"]

    def finished(self, items: Iterable[Item]) -> dict[str, str]:
        """Item name -> path of its output, for the items that have one."""
        existing = self.storage.files(f"{self.path}/outputs", recursive=True)
        outputs = {}
        for item in items:
            if f"{item.key}.parquet" in existing:
                outputs[item.name] = self.output(item)
            elif f"{item.key}/output.json" in existing:
                outputs[item.name] = self.output(item, "")
        return outputs

    def write_failure(self, item: Item, error: ItemError) -> dict:
        """Write the reason why an item failed; returns its ``FAILURE`` row."""
        row = {"item": item.name, "stage": self.stage, "reason": " ".join(str(error).split()), "last_frame": error.last_frame}
        self.storage.write_bytes(f"{self.path}/failures/{item.key}.json", json.dumps(row).encode())
        return row

    def failure(self, item: Item) -> dict | None:
        """The ``FAILURE`` row of an item; None where it has not failed."""
        try:
            return json.loads(self.storage.read_bytes(f"{self.path}/failures/{item.key}.json"))
        except FileNotFoundError:
            return None

    def failures(self, items: Iterable[Item]) -> dict[str, dict]:
        """Item name -> ``FAILURE`` row, of the items that failed before."""
        existing = self.storage.files(f"{self.path}/failures")
        return {
            item.name: json.loads(self.storage.read_bytes(f"{self.path}/failures/{item.key}.json"))
            for item in items
            if f"{item.key}.json" in existing
        }

    def done(self, items: Iterable[Item]) -> set[str]:
        """Names of finished items: their output exists, or they failed.

        An item that failed after a last good frame has an output too, written after its failure: where only the failure exists, a run was
        killed in between.
        """
        outputs, failures = self.finished(items), self.failures(items)
        return outputs.keys() | {name for name, row in failures.items() if row["last_frame"] is None}

    def forget_failures(self, items: Iterable[Item]) -> None:
        """Delete the failures of these items, so that they are processed again (``--retry-failures``)."""
        for item in items:
            self.storage.delete(f"{self.path}/failures/{item.key}.json")

    def _record_path(self, items: Iterable[Item]) -> str:
        return f"{self.path}/records/{digest(sorted(item.key for item in items))}.json"

    def record(self, items: Iterable[Item]) -> Record | None:
        """The record of exactly this set of items; None where the stage is not complete for it."""
        try:
            return Record(**json.loads(self.storage.read_bytes(self._record_path(items))))
        except FileNotFoundError:
            return None

    def finish(self, items: list[Item], figures: dict[str, Any], seconds: float, max_failures: float = 0.01) -> Record:
        """Check that every item has its output or its failure, and write the record.

        Args:
            items: All items of the stage, done now or before.
            figures: Values that the stage reports, in types that JSON supports.
            seconds: Wall time of this run.
            max_failures: Fraction of the items that may fail; one item always may.

        Raises:
            StageError: more failed than allowed, or an item has neither output nor failure; good outputs are kept.
        """
        outputs, failures = self.finished(items), self.failures(items)
        missing = [item.name for item in items if item.name not in outputs and item.name not in failures]
        if missing:
            raise StageError(f"{self.stage}: {len(missing)} of {len(items)} items have no result, first {missing[0]}; run the same command again")
        if not outputs or not within_failure_budget(len(failures), len(items), max_failures):
            raise StageError(self._too_many(len(items), len(outputs), failures, max_failures))
        record = Record(
            stage=self.stage,
            store=self.path,
            outputs=dict(sorted(outputs.items())),
            failures=list(failures.values()),
            settings=to_plain(self.settings),
            inputs=list(self.inputs),
            figures=to_plain(figures),
            seconds=round(seconds, 2),
            revision=self.revision,
            versions=versions(),
            code=code_digest(),
            git=git_revision(),
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        self.storage.write_bytes(self._record_path(items), json.dumps(asdict(record), indent=1).encode())
        return record

    def _too_many(self, total: int, kept: int, failures: dict[str, dict], max_failures: float) -> str:
        """The message for more failures than allowed: how many, the first reason, where outputs and reasons are, what to do."""
        row, root = next(iter(failures.values())), self.storage.uri(self.path)
        allowed = f"at most {max_failures:.1%} (always one) may" if kept else "none is good"
        failed = f"{self.stage}: {len(failures)} of {total} items failed, {allowed}; first {row['item']}: {row['reason']}"
        outputs = f"{kept} good outputs are kept in {root}/outputs, all reasons" if kept else "all reasons are"
        return f"{failed}; {outputs} in {root}/failures; fix them and add --retry-failures{', or raise --max-failures' if kept else ''}"


def within_failure_budget(failed: float, of: float, fraction: float) -> bool:
    """Whether this number of failures is allowed: up to the fraction, and always one."""
    return failed <= max(1, fraction * of)


@cache
def versions() -> dict[str, str]:
    """The versions of the packages that affect results."""
    installed: dict[str, str] = dict.fromkeys(_PACKAGES, "not installed")
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


@cache
def code_digest() -> str:
    """Hash of this package's files: identifies the code that ran, with or without git."""
    root, total = _PACKAGE, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


@cache
def git_revision() -> str:
    """The git revision of the checkout; empty outside a checkout."""
    command = ["git", "-C", str(_PACKAGE.parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()
