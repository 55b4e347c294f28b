"""Division of long videos into chunks, which several workers process and one of them joins.

Each worker stores the result of its chunk and then lists the stored results; a worker that finds all of them joins them. Workers neither wait for
one another nor exchange messages. After a failure, the next run continues from the stored results. Two workers that find all results at the same
time write the same output.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from abaw_ray.cluster.engine.workers.worker import Task, Unfinished
from abaw_ray.core.errors import AbawError, ItemError
from abaw_ray.core.process.child_process import ChildDied, ChildLimits, ChildProcess
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.faces.chunk_result import META_FILE, ROWS_FILE
from abaw_ray.faces.config import SegmentConfig
from abaw_ray.faces.isolated import IsolatedFaceWriter
from abaw_ray.faces.output import VideoResult
from abaw_ray.faces.stitch import ChunkMismatchError
from abaw_ray.faces.tracking.segments import Chunk, split_into_chunks
from abaw_ray.media.probe import header_reader

_MAX_SHARE = 0.5
"""A video is divided if it is more than this share of one worker's work; smaller ones are small enough for load balancing. Default ours."""
_HEADER_THREADS = 4
"""Number of headers that are read at the same time."""
_MAX_CHUNKS = 1000
"""Maximum number of chunks of a video: the payload of each task lists all of them. Default ours."""
_MIN_BYTES_PER_SECOND = 1000
"""Minimum plausible byte rate: a longer duration in a header is cut to it. Default ours."""


def split_videos(todo: Mapping[Item, dict], config: SegmentConfig, *, workers: int, minutes: float) -> list[Task]:
    """Return the tasks for these videos: one each, or several for those that would occupy one worker after all others have finished.

    Only the headers of the largest files are read, at most of a few for each worker. The division never changes the rows.

    Args:
        todo: VIDEO rows.
        config: Settings of segments; a chunk is a run of segments.
        workers: Workers that share the tasks.
        minutes: Approximate length of a chunk; 0 divides no video.
    """
    limit = sum(video["size"] for video in todo.values()) / workers * _MAX_SHARE
    long_videos = [item for item, video in todo.items() if minutes and workers > 1 and video["size"] > limit]
    with ThreadPoolExecutor(_HEADER_THREADS) as pool:
        groups = [{item: todo[item] for item in long_videos[first::_HEADER_THREADS]} for first in range(_HEADER_THREADS)]
        results = pool.map(lambda videos: _chunks_of_all(videos, config, minutes), groups)
    chunks = {item: found for result in results for item, found in result.items()}
    return [task for item, video in todo.items() for task in _tasks_of(item, video, chunks.get(item, []))]


def _chunks_of_all(videos: Mapping[Item, dict], config: SegmentConfig, minutes: float) -> dict[Item, list[Chunk]]:
    """Return the chunks of each video; headers are read in a child process, because a damaged file may crash the reader."""
    with ChildProcess(header_reader, ChildLimits()) as read_header:
        return {item: _chunks_of(read_header, video, config, minutes) for item, video in videos.items()}


def _chunks_of(read_header: ChildProcess[tuple[float, float]], video: dict, config: SegmentConfig, minutes: float) -> list[Chunk]:
    try:
        start, duration = read_header(video["uri"])
    except (AbawError, ChildDied, MemoryError):
        return []  # the worker that decodes the video reports what is wrong with it
    duration = min(duration, video["size"] / _MIN_BYTES_PER_SECOND)
    return split_into_chunks(start, duration, max(60 * minutes, duration / _MAX_CHUNKS), config)


def _tasks_of(item: Item, video: dict, chunks: list[Chunk]) -> list[Task]:
    if len(chunks) < 2:
        return [(item, video)]
    bounds = [[chunk.first, chunk.stop] for chunk in chunks]
    return [(item, video | {"size": video["size"] / len(bounds), "chunk": {"bounds": bounds, "index": index}}) for index in range(len(bounds))]


def process_chunk(writer: IsolatedFaceWriter, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
    """Process one chunk of a video, and join the video if the results of all other chunks are stored.

    Args:
        writer: Decodes and processes the video.
        store: Store of outputs and chunk results.
        item: The video.
        payload: Its VIDEO row with ``chunk``: the ``bounds`` of all chunks as segments, and the ``index`` of this one.

    Returns:
        Counts: those of the video if this call joins it, otherwise those of the chunk.

    Raises:
        ItemError: the video is damaged.
        StorageError: it cannot be read, or a result cannot be written.
    """
    bounds, index = payload["chunk"]["bounds"], payload["chunk"]["index"]
    folder, names = f"{store.path}/chunks/{item.key}-{digest(bounds, 8)}", [f"{number:04d}" for number in range(len(bounds))]
    own, frames = f"{folder}/{names[index]}", 0
    finished = store.exists(item) and not store.failure(item)  # an output with a failure is retried
    if not finished and not store.storage.exists(f"{own}/{META_FILE}"):
        frames = _store_chunk(writer, store, payload, own)
    stored = store.storage.files(folder, recursive=True)
    if not all(f"{name}/{META_FILE}" in stored for name in names):
        return Unfinished(frames=frames)
    with tempfile.TemporaryDirectory(prefix="abaw-faces-") as temporary:
        path = Path(temporary) / "output.parquet"
        try:
            result = _join(writer, payload, [_fetch(store, f"{folder}/{name}", Path(temporary) / name) for name in names], path)
            counts = store_output(store, item, result, path) | {"frames": frames}
        except FileNotFoundError:
            return Unfinished(frames=frames)  # another worker found all results too, and has joined and deleted them
        except ItemError:
            store.storage.delete(folder)  # a retry decodes again
            raise
    store.storage.delete(folder)
    return counts


def store_output(store: StageStore, item: Item, result: VideoResult, path: Path) -> dict[str, float]:
    """Store the output of a video; returns its counts.

    Raises:
        ItemError: the video is damaged; raised after its failure and then its good rows are stored (for the order see ``StageStore.done``).
    """
    if result.error is not None:
        store.write_failure(item, result.error)
    store.storage.put_file(path, store.output(item))
    if result.error is not None:
        raise result.error
    return {"rows": result.rows, "faces": result.faces, "frames": result.frames, **result.notes}


def _store_chunk(writer: IsolatedFaceWriter, store: StageStore, payload: dict, folder: str) -> int:
    """Process a chunk and store its result, the file that marks it complete last. Returns its number of frames."""
    with tempfile.TemporaryDirectory(prefix="abaw-faces-") as temporary:
        result = writer.write_chunk(payload, Chunk(*payload["chunk"]["bounds"][payload["chunk"]["index"]]), Path(temporary))
        for name in (ROWS_FILE, META_FILE):
            store.storage.put_file(Path(temporary) / name, f"{folder}/{name}")
    return len(result.times)


def _fetch(store: StageStore, stored: str, folder: Path) -> Path:
    """Return a local folder with a stored chunk result."""
    if not is_remote(store.storage.config.uri):
        return Path(store.storage.uri(stored))
    for name in (ROWS_FILE, META_FILE):
        store.storage.get_file(f"{stored}/{name}", folder / name)
    return folder


def _join(writer: IsolatedFaceWriter, video: dict, folders: list[Path], path: Path) -> VideoResult:
    try:
        return writer.join_chunks(video, folders, path)
    except ChunkMismatchError:  # seeking returns other frames in this file: decode it in one pass, which is slower but correct
        return writer.write_video(video, path)
