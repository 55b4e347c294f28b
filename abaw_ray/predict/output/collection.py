"""All analyzed videos -> the files about them: tables, ``run.json`` and ``index.html``; and where all files are."""

import io
import json
import time
from collections.abc import Container, Mapping, Sequence
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
from abaw_ray.predict.output.collected import Collected, collect, concatenated, read_collected, store_collected
from abaw_ray.predict.output.files import OutputWriter
from abaw_ray.predict.output.page import index_row
from abaw_ray.predict.output.result import CollectionResult, VideoResult
from abaw_ray.predict.output.summary import EPISODES, SUMMARY
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
    done = {video["video"]: video for video in collection.videos if video["video"] in collection.analyses}
    names = {name: video["output"] for name, video in done.items()}
    existing = output.stats("")
    known = read_collected(output, existing, names)

    def read(name: str) -> Collected:
        path, kept = collection.analyses[name], known.get(name)
        if kept and kept.analysis == path and write.are_written(kept.sources, kept.uri, names[name], path, existing):
            return kept
        with stored.local_copy(path) as local:
            analysis = read_as(AnalysisData, local)
        return collect(analysis, path, write(analysis, names[name], path, existing))

    with ThreadPoolExecutor(_THREADS) as pool:
        collected = dict(zip(done, pool.map(read, done), strict=True))
    failures = [{"video": name, "reason": row["reason"], "frames_kept": row["last_frame"]} for name, row in sorted(collection.failures.items())]
    files = _write_files(collection, output, names, collected, failures)
    existing = output.stats("")  # again: an overlay or a proxy may have been written, or could not be
    if any(collected[name] is not known.get(name) for name in done):
        store_collected(output, existing, names, collected)
    return CollectionResult(
        total=len(collection.videos),
        videos=[_result(video, collected[name], collection.failures.get(name), existing, output, write) for name, video in done.items()],
        failures=failures,
        files=files,
        model=_model(collection.metadata),
        versions={"abaw_ray": __version__, **versions()},
    )


def _write_files(
    collection: Collection, output: Storage, names: Mapping[str, str], collected: Mapping[str, Collected], failures: list[dict[str, Any]]
) -> dict[str, str]:
    """Write the files about all videos; returns kind -> path or URI."""
    files = {"summary": "summary.csv", "episodes": "episodes.csv", "failures": "failures.csv", "run": "run.json"}
    output.write_bytes(files["summary"], _csv(concatenated(SUMMARY, [one.summary for one in collected.values()])))
    output.write_bytes(files["episodes"], _csv(concatenated(EPISODES, [one.episodes for one in collected.values()])))
    output.write_bytes(files["failures"], _csv(pa.Table.from_pylist(failures, schema=FAILURES)))
    output.write_bytes(files["run"], json.dumps(_run(collection), indent=1).encode())
    if collection.outputs.report:
        files["pages"] = "index.html"
        failed = [IndexRow(title=name, failure=row["reason"]) for name, row in collection.failures.items() if name not in collection.analyses]
        rows = [_index_row(name, one, names[name], collection) for name, one in collected.items()]
        write_index(output, VideoIndex(rows=[*rows, *failed], notes=collection.metadata.notices))
    return {kind: output.uri(path) for kind, path in files.items()}


def _result(
    video: Mapping[str, Any],
    collected: Collected,
    failure: Mapping[str, Any] | None,
    existing: Container[str],
    output: Storage,
    write: OutputWriter,
) -> VideoResult:
    suffixes = write.suffixes(video["uri"]) | write.optional_suffixes(video["uri"])
    paths = {kind: f"{video['output']}{suffix}" for kind, suffix in suffixes.items()}
    return VideoResult(
        video=video["video"],
        source=video["uri"],
        files={kind: output.uri(path) for kind, path in paths.items() if path in existing},
        people=collected.summary.drop_columns(["video"]).to_pylist(),
        notes=collected.notes,
        failure=failure["reason"] if failure else None,
    )


def _index_row(video: str, collected: Collected, name: str, collection: Collection) -> IndexRow:
    failure = collection.failures.get(video)
    return index_row(
        video,
        collected.summary,
        page=f"{name}.html",
        duration_s=collected.duration_s,
        thumbnail=collected.thumbnail,
        failure=failure["reason"] if failure else None,
    )


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
