"""What the files about all videos need of each analysis, kept in the cache of the output folder: adding videos to many reads the new analyses alone.

It is valid for the sizes and modification times that a listing shows of the stored analysis and of the facts about its files (``written_files``).
What is missing, damaged or out of date is read from the analyses again.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import FileStat
from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.analysis_data import AnalysisData
from abaw_ray.predict.config import CACHE
from abaw_ray.predict.output.summary import EPISODES, SUMMARY, list_episodes, summarize
from abaw_ray.predict.output.written_files import WrittenFiles, written_path

_FOLDER = f"{CACHE}/collection"
_REVISION = 1
"""Raised when an analysis gives another summary or other episodes."""
_WRITER = b"abaw_ray.writer"
"""Key of the metadata of each file: the same in files that were written together."""
_FACTS = pa.schema(
    [
        pa.field("video", pa.string()),
        pa.field("analysis", pa.string()),
        pa.field("state", pa.string()),  # of the files that it depends on
        pa.field("uri", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("thumbnail", pa.binary()),
        pa.field("notes", pa.list_(pa.string())),
        pa.field("sources", pa.map_(pa.string(), pa.string())),
        pa.field("people", pa.int32()),  # number of its rows of the summary
        pa.field("episodes", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What is kept of one analysis."""

    analysis: str
    """Path of the stored analysis."""
    uri: str
    """Path or URI of the video."""
    summary: pa.Table
    """Its rows of ``SUMMARY``."""
    episodes: pa.Table
    """Its rows of ``EPISODES``."""
    duration_s: float
    thumbnail: bytes | None
    notes: tuple[str, ...]
    """Remarks about the result and its files."""
    sources: Mapping[str, str]
    """As in ``WrittenFiles``."""


def collect(analysis: AnalysisData, path: str, written: WrittenFiles) -> Collected:
    """What is kept of an analysis that is stored at this path, after its files were written."""
    return Collected(
        analysis=path,
        uri=analysis.video.uri,
        summary=summarize(analysis),
        episodes=list_episodes(analysis),
        duration_s=analysis.video.duration_s,
        thumbnail=analysis.thumbnail,
        notes=(*analysis.notes, *written.notes),
        sources=written.sources,
    )


def read_collected(output: Storage, files: Mapping[str, FileStat], names: Mapping[str, str]) -> dict[str, Collected]:
    """What is kept of the analyses, by video, as far as it is valid.

    Args:
        output: The user's output folder.
        files: All of its files.
        names: Video -> path of its files without suffix, for the videos that are wanted.
    """
    try:
        facts, summary, episodes = (output.read_table(f"{_FOLDER}/{name}.parquet") for name in ("facts", "summary", "episodes"))
        if not (facts.schema.equals(_FACTS) and summary.schema.equals(SUMMARY) and episodes.schema.equals(EPISODES)):
            return {}  # of another version
        if len({(table.schema.metadata or {}).get(_WRITER) for table in (facts, summary, episodes)}) > 1:
            return {}  # of two commands at the same time
    except (FileNotFoundError, StorageError, pa.ArrowInvalid):
        return {}
    found, person, episode = {}, 0, 0
    for row in facts.to_pylist():
        if row["video"] in names and row["state"] == _state(files, row["analysis"], names[row["video"]]):
            found[row["video"]] = Collected(
                analysis=row["analysis"],
                uri=row["uri"],
                summary=summary.slice(person, row["people"]),
                episodes=episodes.slice(episode, row["episodes"]),
                duration_s=row["duration_s"],
                thumbnail=row["thumbnail"],
                notes=tuple(row["notes"]),
                sources=dict(row["sources"]),
            )
        person, episode = person + row["people"], episode + row["episodes"]
    return found


def store_collected(output: Storage, files: Mapping[str, FileStat], names: Mapping[str, str], collected: Mapping[str, Collected]) -> None:
    """Write what is kept, in place of what was kept before; the arguments are as in ``read_collected``."""
    rows = [
        {
            "video": video,
            "state": _state(files, one.analysis, names[video]),
            "people": len(one.summary),
            "episodes": len(one.episodes),
            **{name: getattr(one, name) for name in ("analysis", "uri", "duration_s", "thumbnail", "notes")},
            "sources": list(one.sources.items()),
        }
        for video, one in collected.items()
    ]
    tables = {
        "summary": concatenated(SUMMARY, [one.summary for one in collected.values()]),
        "episodes": concatenated(EPISODES, [one.episodes for one in collected.values()]),
        "facts": pa.Table.from_pylist(rows, schema=_FACTS),
    }
    writer = {_WRITER: uuid.uuid4().bytes}
    for name, table in tables.items():
        output.write_table(f"{_FOLDER}/{name}.parquet", table.replace_schema_metadata(writer))


def concatenated(schema: pa.Schema, tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all tables, of which there may be none."""
    return pa.concat_tables([schema.empty_table(), *tables])


def _state(files: Mapping[str, FileStat], analysis: str, name: str) -> str:
    """Sizes and modification times of the stored analysis and of the facts about its files; empty where one is missing."""
    stats = [files.get(path) for path in (f"{CACHE}/{analysis}", written_path(name))]
    return "" if None in stats else " ".join([f"{_REVISION}", *(f"{stat.size}:{stat.modified_ns}" for stat in stats if stat)])
