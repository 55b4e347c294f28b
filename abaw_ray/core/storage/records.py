"""Where a stage's results live, which of them are there, and the record that says they are complete.

A stage's home is named by the digest of what shapes every part of it; one part an item, each written at once; the record comes last.
No record, no result. Nothing here knows what a part holds or where the work runs.
"""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from abaw_ray.core.errors import ItemError, StageError
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.core.storage.storage import Storage

_PACKAGES = ("ray", "torch", "transformers", "timm", "deepspeed", "av", "pyarrow", "scikit-learn", "opencv-python-headless", "numpy")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One unit of a stage's work: a video, an image set, a training run."""

    name: str
    """As the user knows it: the video's name."""
    identity: str
    """Changes whenever the content may have: a digest of URI, size and ETag or modification time, or of the parts a run reads."""

    @property
    def key(self) -> str:
        """The name of its part: readable, and different for every identity."""
        return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', self.name)[-60:]}-{digest([self.name, self.identity], 12)}"


@dataclass(frozen=True, kw_only=True)
class Record:
    """That a stage is complete for a set of items, and everything one asks later about how it came about."""

    stage: str
    store: str
    parts: dict[str, str]
    """Item name -> path of its part below the storage root. Failed items have none, but for what was good before they broke."""
    failures: list[dict]
    """``FAILURE`` rows; an item that broke after a last good frame has a part as well."""
    settings: dict
    inputs: list[str]
    figures: dict[str, Any]
    seconds: float
    """Wall time of the run that completed the set; 0 where all its parts were there already."""
    revision: int
    versions: dict[str, str] = field(default_factory=dict)
    code: str = ""
    git: str = ""
    finished: str = ""

    @property
    def identity(self) -> str:
        """Names this very result: what the next stage's run takes as its input."""
        return digest([self.store, self.parts])


@dataclass(frozen=True)
class StageStore:
    """The folder of one stage under one choice of settings. All paths are relative to the storage root."""

    storage: Storage
    stage: str
    settings: Any
    revision: int
    inputs: tuple[str, ...] = ()
    """The homes (or names) of the stages whose results shape every part of this one."""

    @property
    def path(self) -> str:
        """The home's folder."""
        name = digest({"settings": self.settings, "revision": self.revision, "inputs": list(self.inputs)})
        return f"{self.stage}/{name}"

    def part(self, item: Item, suffix: str = ".parquet") -> str:
        """Path of an item's part; a run that writes several files uses a folder (``suffix=""``) and ``complete_folder``."""
        return f"{self.path}/parts/{item.key}{suffix}"

    def complete_folder(self, item: Item, figures: dict[str, Any]) -> None:
        """Mark a part of several files as whole: its list of files with sizes is written after all of them."""
        folder = self.part(item, "")
        files = self.storage.files(folder, recursive=True)
        body = {"files": files, "figures": to_plain(figures)}
        self.storage.write_bytes(f"{folder}/part.json", json.dumps(body, indent=1).encode())

    def folder_figures(self, item: Item) -> dict[str, Any]:
        """The figures given to ``complete_folder``."""
        return json.loads(self.storage.read_bytes(f"{self.part(item, '')}/part.json"))["figures"]

    def finished(self, items: Iterable[Item]) -> dict[str, str]:
        """Item name -> part path, of the items whose part is there."""
        there = self.storage.files(f"{self.path}/parts", recursive=True)
        found = {}
        for item in items:
            if f"{item.key}.parquet" in there:
                found[item.name] = self.part(item)
            elif f"{item.key}/part.json" in there:
                found[item.name] = self.part(item, "")
        return found

    def write_failure(self, item: Item, error: ItemError) -> dict:
        """Keep why an item has no part; returns its ``FAILURE`` row."""
        row = {"item": item.name, "stage": self.stage, "reason": " ".join(str(error).split()), "last_frame": error.last_frame}
        self.storage.write_bytes(f"{self.path}/failures/{item.key}.json", json.dumps(row).encode())
        return row

    def failures(self, items: Iterable[Item]) -> dict[str, dict]:
        """Item name -> ``FAILURE`` row, of the items that failed before."""
        there = self.storage.files(f"{self.path}/failures")
        return {
            item.name: json.loads(self.storage.read_bytes(f"{self.path}/failures/{item.key}.json")) for item in items if f"{item.key}.json" in there
        }

    def done(self, items: Iterable[Item]) -> set[str]:
        """Names of the items of which nothing is left to do: their part is there, or they failed.

        An item that failed after a last good frame has a part too, written after its failure: where only that is there, a run was killed
        in between.
        """
        parts, failures = self.finished(items), self.failures(items)
        return parts.keys() | {name for name, row in failures.items() if row["last_frame"] is None}

    def forget_failures(self, items: Iterable[Item]) -> None:
        """Let failed items be tried again (``--retry-failures``)."""
        for item in items:
            self.storage.delete(f"{self.path}/failures/{item.key}.json")

    def _record_path(self, items: Iterable[Item]) -> str:
        return f"{self.path}/records/{digest(sorted(item.key for item in items))}.json"

    def record(self, items: Iterable[Item]) -> Record | None:
        """The record of exactly this set of items, or None: then the stage is not complete."""
        try:
            return Record(**json.loads(self.storage.read_bytes(self._record_path(items))))
        except FileNotFoundError:
            return None

    def finish(self, items: list[Item], figures: dict[str, Any], seconds: float, max_failures: float = 0.01) -> Record:
        """Check that every item has its part or its failure, and write the record.

        Args:
            items: The whole set of the stage, done now or before.
            figures: What the stage reports, plain numbers and texts.
            seconds: Wall time of this run.
            max_failures: Share of the items that may have failed; at least one always may.

        Raises:
            StageError: more failed than allowed, or an item has neither part nor failure; good parts stay where they are.
        """
        parts, failures = self.finished(items), self.failures(items)
        lost = [item.name for item in items if item.name not in parts and item.name not in failures]
        if lost:
            raise StageError(f"{self.stage}: {len(lost)} of {len(items)} items have no result, first {lost[0]}; run the same command again")
        if not parts or not bears(len(failures), len(items), max_failures):
            row = next(iter(failures.values()))
            raise StageError(
                f"{self.stage}: {len(failures)} of {len(items)} items failed, allowed are {max_failures:.1%} and at least 1; "
                f"first {row['item']}: {row['reason']}; mend them and add --policy.retry-failures, or raise --policy.max-failures"
            )
        record = Record(
            stage=self.stage,
            store=self.path,
            parts=dict(sorted(parts.items())),
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


def bears(failed: float, of: float, share: float) -> bool:
    """Whether a run bears so many failures: this share, and at least one always."""
    return failed <= max(1, share * of)


@cache
def versions() -> dict[str, str]:
    """The versions of the packages that shape results."""
    installed = {}
    for name in _PACKAGES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed[name] = "not installed"
    return installed


@cache
def code_digest() -> str:
    """Hash of this package's own files: says which code ran also where there is no git."""
    root, total = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


@cache
def git_revision() -> str:
    """The git revision of the checkout, or an empty text."""
    command = ["git", "-C", str(Path(__file__).parents[2]), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
