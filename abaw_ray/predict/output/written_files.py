"""From which analysis and settings the files of a video were written: files of another analysis are replaced, and others are not written again.

Analyses with other settings have files of the same names. The facts are kept in the cache of the output folder, one small file per video.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.config import CACHE


@dataclass(kw_only=True)
class WrittenFiles:
    """The files of one video that were written completely."""

    sources: dict[str, str] = field(default_factory=dict)
    """Suffix of a file -> digest of what it was written from."""
    notes: tuple[str, ...] = ()
    """What the user should know about the files."""

    def forget(self, suffixes: Iterable[str]) -> None:
        """Remove files that are about to be written: an interrupted run leaves them unknown."""
        for suffix in suffixes:
            self.sources.pop(suffix, None)

    def store(self, output: Storage, name: str) -> None:
        """Write the facts about the files ``name`` of the output folder."""
        output.write_bytes(written_path(name), json.dumps({"sources": self.sources, "notes": self.notes}).encode())


def read_written(output: Storage, name: str) -> WrittenFiles:
    """The facts about the files ``name`` of the output folder; none where nothing was written."""
    try:
        plain = json.loads(output.read_bytes(written_path(name)))
    except FileNotFoundError:
        return WrittenFiles()
    return WrittenFiles(sources=plain["sources"], notes=tuple(plain["notes"]))


def written_path(name: str) -> str:
    """Path of the facts about the files ``name``, below the output folder."""
    return f"{CACHE}/written/{name}.json"
