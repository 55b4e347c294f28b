"""The result of a run over many videos. The lines for the terminal and the object for ``--json`` are two forms of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN_TABLES = 3
"""Tables that the terminal names; the JSON object has all. Ours."""
_SHOWN_NOTES = 10
"""Notes that the terminal shows. Ours."""


@dataclass(frozen=True, kw_only=True)
class VideoResult:
    """One analyzed video."""

    video: str
    """Its name."""
    source: str
    """Path or URI of the video."""
    files: Mapping[str, str]
    """Kind of file (``csv``, ``parquet``, ``page``, ``proxy``, ``overlay``) -> path or URI, for the files that exist."""
    people: Sequence[Mapping[str, Any]]
    """Its rows of ``SUMMARY``, without ``video``."""
    notes: tuple[str, ...] = ()
    """Remarks about its result."""
    failure: str | None = None
    """Why it was not analyzed to its end."""


@dataclass(frozen=True, kw_only=True)
class CollectionResult:
    """All videos of a run."""

    total: int
    """Videos that were given."""
    videos: Sequence[VideoResult]
    """Those that were analyzed, by name."""
    failures: Sequence[Mapping[str, Any]]
    """Rows of ``failures.csv``."""
    files: Mapping[str, str]
    """Kind of file about all videos (``summary``, ``episodes``, ``pages``, ``failures``, ``run``) -> path or URI."""
    model: Mapping[str, Any]
    """The model, as in ``run.json``."""
    versions: Mapping[str, str]
    """Package -> version."""

    @property
    def people(self) -> int:
        """Number of people in all videos; a person of two videos counts twice."""
        return sum(len(video.people) for video in self.videos)

    @property
    def rows(self) -> int:
        """Number of rows of all tables."""
        return sum(person["frames"] for video in self.videos for person in video.people)

    def lines(self) -> list[str]:
        """Lines for the terminal: counts, notes, and where the files are, the first tables by name."""
        counts = f"{len(self.videos):,} of {_count(self.total, 'video')}, {_count(self.people, 'person', 'people')}, {_count(self.rows, 'row')}"
        notes = [f"{video.video}: {note}" for video in self.videos for note in video.notes]
        shown = notes[:_SHOWN_NOTES]
        if len(notes) > len(shown):
            shown.append(f"... and {_count(len(notes) - len(shown), 'more note')}, each in the page of its video")
        return [counts, *shown, *self._where()]

    def _where(self) -> list[str]:
        lines = [f"summary:  {self.files['summary']}", f"episodes: {self.files['episodes']}"]
        if "pages" in self.files:
            lines.append(f"pages:    {self.files['pages']}")
        tables = [path for video in self.videos for kind, path in video.files.items() if kind in ("csv", "parquet")]
        lines += [f"{'tables:  ' if number == 0 else '         '} {path}" for number, path in enumerate(tables[:_SHOWN_TABLES])]
        if len(tables) > _SHOWN_TABLES:
            lines.append(f"          ... and {len(tables) - _SHOWN_TABLES:,} more")
        if self.failures:
            lines.append(f"failures: {self.files['failures']} ({_count(len(self.failures), 'video')})")
        return lines

    def to_plain(self) -> dict[str, Any]:
        """The object for ``--json``."""
        return {
            "counts": {
                "videos": self.total,
                "analyzed": len(self.videos),
                "failed": len(self.failures),
                "people": self.people,
                "rows": self.rows,
            },
            "files": dict(self.files),
            "model": dict(self.model),
            "versions": dict(self.versions),
            "videos": [
                {
                    "video": video.video,
                    "source": video.source,
                    "files": dict(video.files),
                    "people": [dict(person) for person in video.people],
                    "notes": list(video.notes),
                    "failure": video.failure,
                }
                for video in self.videos
            ],
            "failures": [dict(row) for row in self.failures],
        }


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
