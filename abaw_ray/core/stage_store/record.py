"""An item of a stage's work, and the record that marks the stage as complete for a set of items."""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from abaw_ray.core.settings import digest

RUN = "run"
"""Name of the one item of a stage that is one run."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One unit of a stage's work: a video, an image set, a training run."""

    name: str
    """Its name for the user, such as the path of a video."""
    identity: str
    """Changes whenever the content may have changed: a digest of URI, size and modification time, or of the outputs that a run reads."""

    @cached_property
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
    def is_run(self) -> bool:
        """Whether the stage is one run, whose output is a folder; an item, such as a video, may have the same name."""
        return self.outputs.keys() == {RUN} and not self.run_output.endswith(".parquet")

    @property
    def run_output(self) -> str:
        """Folder of the output of a stage that is one run."""
        return self.outputs[RUN]

    @property
    def identity(self) -> str:
        """Digest of exactly these outputs; part of the address of the next stage."""
        return digest([self.store, self.outputs])
