"""All analyzed videos -> the files about them: tables, ``run.json`` and ``index.html``; and where all files are."""

import io
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.csv

from abaw_ray import __version__
from abaw_ray.core.settings import to_plain
from abaw_ray.core.stage_store.provenance import versions
from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.analysis_data import AnalysisData, read_as
from abaw_ray.predict.bundle.metadata import BundleMetadata
from abaw_ray.predict.config import OutputConfig
from abaw_ray.predict.output.files import OutputWriter
from abaw_ray.predict.output.page import index_row
from abaw_ray.predict.output.result import CollectionResult, VideoResult
from abaw_ray.predict.output.summary import EPISODES, SUMMARY, list_episodes, summarize
from abaw_ray.report.video.index import write_index
from abaw_ray.report.video.inputs import IndexRow, VideoIndex

_THREADS = 16
FAILURES = pa.schema([pa.field("video", pa.string()), pa.field("reason", pa.string()), pa.field("frames_kept", pa.int32())])
"""Columns of ``failures.csv``; ``frames_kept``: number of good frames before the damage, empty where nothing could be analyzed."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """All videos of a run."""

    videos: Sequence[Mapping[str, Any]]
    """VIDEO rows with ``output``, the path of their files without suffix."""
    analyses: Mapping[str, str]
    """Video -> path of its stored analysis."""
    failures: Mapping[str, Mapping[str, Any]]
    """Video -> its ``FAILURE`` row."""
    metadata: BundleMetadata
    """The model."""
    settings: Any
    """Settings of the run, for ``run.json``."""
    outputs: OutputConfig
    """Which files every video has."""


@dataclass(frozen=True, kw_only=True)
class _Analyzed:
    """What is kept of one analysis while the others are read."""

    summary: pa.Table
    episodes: pa.Table
    row: IndexRow
    notes: tuple[str, ...]


def write_collection(collection: Collection, stored: Storage, output: Storage, write: OutputWriter) -> CollectionResult:
    """Write the files about all videos, and those of single videos that do not exist or are of another analysis, as after a change of the formats.

    Args:
        collection: The videos.
        stored: Storage of the analyses.
        output: The user's output folder.
        write: Writes the files of one video.

    Returns:
        Counts, notes, failures, and where the files are.

    Raises:
        StorageError: a file cannot be read or written.
    """
    existing = output.files("", recursive=True)

    def read(video: Mapping[str, Any]) -> _Analyzed:
        with stored.local_copy(collection.analyses[video["video"]]) as path:
            analysis = read_as(AnalysisData, path)
        notes = write(analysis, video["output"], collection.analyses[video["video"]], existing)
        return _analyzed(analysis, video, collection, notes)

    done = [video for video in collection.videos if video["video"] in collection.analyses]
    with ThreadPoolExecutor(_THREADS) as pool:
        analyzed = list(pool.map(read, done))
    failures = [{"video": name, "reason": row["reason"], "frames_kept": row["last_frame"]} for name, row in sorted(collection.failures.items())]
    files = _write_files(collection, output, analyzed, failures)
    existing = output.files("", recursive=True)  # again: an overlay or a proxy may have been written, or could not be
    return CollectionResult(
        total=len(collection.videos),
        videos=[_result(video, one, existing, output, write) for video, one in zip(done, analyzed, strict=True)],
        failures=failures,
        files=files,
        model=_model(collection.metadata),
        versions={"abaw_ray": __version__, **versions()},
    )


def _write_files(collection: Collection, output: Storage, analyzed: list[_Analyzed], failures: list[dict[str, Any]]) -> dict[str, str]:
    """Write the files about all videos; returns kind -> path or URI."""
    files = {"summary": "summary.csv", "episodes": "episodes.csv", "failures": "failures.csv", "run": "run.json"}
    output.write_bytes(files["summary"], _csv(pa.concat_tables([SUMMARY.empty_table(), *(one.summary for one in analyzed)])))
    output.write_bytes(files["episodes"], _csv(pa.concat_tables([EPISODES.empty_table(), *(one.episodes for one in analyzed)])))
    output.write_bytes(files["failures"], _csv(pa.Table.from_pylist(failures, schema=FAILURES)))
    output.write_bytes(files["run"], json.dumps(_run(collection), indent=1).encode())
    if collection.outputs.report:
        files["pages"] = "index.html"
        failed = [IndexRow(title=name, failure=row["reason"]) for name, row in collection.failures.items() if name not in collection.analyses]
        write_index(output, VideoIndex(rows=[*(one.row for one in analyzed), *failed], notes=collection.metadata.notices))
    return {kind: output.uri(path) for kind, path in files.items()}


def _result(video: Mapping[str, Any], analyzed: _Analyzed, existing: Mapping[str, int], output: Storage, write: OutputWriter) -> VideoResult:
    suffixes = write.suffixes(video["uri"]) | write.optional_suffixes(video["uri"])
    paths = {kind: f"{video['output']}{suffix}" for kind, suffix in suffixes.items()}
    return VideoResult(
        video=video["video"],
        source=video["uri"],
        files={kind: output.uri(path) for kind, path in paths.items() if path in existing},
        people=analyzed.summary.drop_columns(["video"]).to_pylist(),
        notes=analyzed.notes,
        failure=analyzed.row.failure,
    )


def _analyzed(analysis: AnalysisData, video: Mapping[str, Any], collection: Collection, notes: tuple[str, ...]) -> _Analyzed:
    summary = summarize(analysis)
    failure = collection.failures.get(analysis.video.name)
    row = index_row(
        analysis.video.name,
        summary,
        page=f"{video['output']}.html" if collection.outputs.report else None,
        duration_s=analysis.video.duration_s,
        thumbnail=analysis.thumbnail,
        failure=None if failure is None else failure["reason"],
    )
    return _Analyzed(summary=summary, episodes=list_episodes(analysis), row=row, notes=(*analysis.notes, *notes))


def _csv(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


def _run(collection: Collection) -> dict[str, Any]:
    """Content of ``run.json``."""
    return {
        "model": _model(collection.metadata),
        "settings": to_plain(collection.settings),
        "versions": versions(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "videos": len(collection.videos),
        "failures": len(collection.failures),
    }


def _model(metadata: BundleMetadata) -> dict[str, Any]:
    """The model in ``run.json``."""
    return {
        "name": metadata.name,
        "identity": metadata.identity,
        "kind": metadata.kind,
        "protocol": metadata.protocol,
        "license": to_plain(metadata.license),
        "notices": list(metadata.notices),
        "training_data": list(metadata.training_data),
    }
