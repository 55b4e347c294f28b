"""A long video among several workers: who watches which span, where the pieces wait, and who puts them together.

Each worker stores its piece and looks whether all are there; who finds them all joins them. Nobody waits, nothing is told to anybody, and
whatever dies, the next run goes on from the pieces that are there. Where two find them all, both write the same part.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from abaw_ray.cluster.engine.worker import Task, Unfinished
from abaw_ray.core.errors import AbawError, ItemError
from abaw_ray.core.process.child_process import ChildDied, ChildLimits, ChildProcess
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.faces.chunk_files import HEAD, ROWS
from abaw_ray.faces.isolated import GuardedParts
from abaw_ray.faces.output import Done
from abaw_ray.faces.stitch import SeamError
from abaw_ray.faces.tracking.segments import Span, StretchConfig, spans_of
from abaw_ray.media.probe import header_reader

_FAIR = 0.5
"""A video is shared out where it is more than this part of what one worker has to do: smaller ones find their place at the end. Ours."""
_AT_ONCE = 4
"""Headers that are read at the same time."""
_MOST = 1000
"""Pieces of a video at the most: each knows of all. Ours."""
_LEAST = 1000
"""Bytes a second: a header that speaks of a longer video than this allows is not believed. Ours."""


def divided(todo: Mapping[Item, dict], config: StretchConfig, *, workers: int, minutes: float) -> list[Task]:
    """The tasks for these videos: one each, or several for those that would keep a worker busy when all others have nothing left to do.

    Only the largest files are opened, at most a few for each worker. How videos are shared out never shapes their rows.

    Args:
        todo: VIDEO rows.
        config: Stretches: a span is made of whole ones.
        workers: Actors that share the work.
        minutes: Of a span, about; 0 shares out nothing.
    """
    large = sum(video["size"] for video in todo.values()) / workers * _FAIR
    long = [item for item, video in todo.items() if minutes and workers > 1 and video["size"] > large]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        parts = pool.map(lambda first: _all_spans({item: todo[item] for item in long[first::_AT_ONCE]}, config, minutes), range(_AT_ONCE))
    spans = {item: found for part in parts for item, found in part.items()}
    return [task for item, video in todo.items() for task in _tasks_of(item, video, spans.get(item, []))]


def _all_spans(videos: Mapping[Item, dict], config: StretchConfig, minutes: float) -> dict[Item, list[Span]]:
    """The spans of each; headers are read in a child process, for nobody knows what is in these files."""
    with ChildProcess(header_reader, ChildLimits()) as read:
        return {item: _spans(read, video, config, minutes) for item, video in videos.items()}


def _spans(read: ChildProcess[tuple[float, float]], video: dict, config: StretchConfig, minutes: float) -> list[Span]:
    try:
        begin, seconds = read(video["uri"])
    except (AbawError, ChildDied, MemoryError):
        return []  # whoever decodes it says what is wrong
    seconds = min(seconds, video["size"] / _LEAST)
    return spans_of(begin, seconds, max(60 * minutes, seconds / _MOST), config)


def _tasks_of(item: Item, video: dict, spans: list[Span]) -> list[Task]:
    if len(spans) < 2:
        return [(item, video)]
    plain = [[span.first, span.stop] for span in spans]
    return [(item, video | {"size": video["size"] / len(spans), "share": {"spans": plain, "number": number}}) for number in range(len(spans))]


def do_share(parts: GuardedParts, store: StageStore, item: Item, payload: dict) -> Mapping[str, float]:
    """Watch one span of a video, and put the video together if that was the last.

    Args:
        parts: Decodes.
        store: Where parts and pieces live.
        item: The video.
        payload: Its VIDEO row with its ``share``: all ``spans``, and the ``number`` of the one that is meant.

    Returns:
        Figures: of the video where this call put it together, else of the span.

    Raises:
        ItemError: the video broke.
        StorageError: it could not be read, or something not be written.
    """
    share = payload["share"]
    place, names = f"{store.path}/pieces/{item.key}-{digest(share['spans'], 8)}", [f"{number:04d}" for number in range(len(share["spans"]))]
    mine, frames = f"{place}/{names[share['number']]}", 0
    done_before = store.exists(item) and not store.failure(item)  # a part with a failure is what is tried again
    if not done_before and not store.storage.exists(f"{mine}/{HEAD}"):
        frames = _cut(parts, store, payload, mine)
    there = store.storage.files(place, recursive=True)
    if not all(f"{name}/{HEAD}" in there for name in names):
        return Unfinished(frames=frames)
    with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
        local = Path(folder) / "part.parquet"
        try:
            done = _joined(parts, payload, [_brought(store, f"{place}/{name}", Path(folder) / name) for name in names], local)
            figures = store_output(store, item, done, local) | {"frames": frames}
        except FileNotFoundError:
            return Unfinished(frames=frames)  # somebody else found them all too, and was done sooner
        except ItemError:
            store.storage.delete(place)  # whoever tries again decodes again
            raise
    store.storage.delete(place)
    return figures


def store_output(store: StageStore, item: Item, done: Done, local: Path) -> dict[str, float]:
    """Put a part into storage; returns the figures of its video.

    Raises:
        ItemError: the video broke: raised when its good rows are stored, and its failure before them (``StageStore.done``).
    """
    if done.broke is not None:
        store.write_failure(item, done.broke)
    store.storage.put_file(local, store.output(item))
    if done.broke is not None:
        raise done.broke
    return {"rows": done.rows, "faces": done.faces, "frames": done.frames}


def _cut(parts: GuardedParts, store: StageStore, payload: dict, place: str) -> int:
    """Watch a span and store its piece; the file that says that it is whole comes last. Returns the number of its frames."""
    with tempfile.TemporaryDirectory(prefix="abaw-faces-") as folder:
        piece = parts.cut(payload, Span(*payload["share"]["spans"][payload["share"]["number"]]), Path(folder))
        for name in (ROWS, HEAD):
            store.storage.put_file(Path(folder) / name, f"{place}/{name}")
    return len(piece.times)


def _brought(store: StageStore, place: str, folder: Path) -> Path:
    """A local folder with a stored piece."""
    if not is_remote(store.storage.config.uri):
        return Path(store.storage.uri(place))
    for name in (ROWS, HEAD):
        store.storage.get_file(f"{place}/{name}", folder / name)
    return folder


def _joined(parts: GuardedParts, video: dict, folders: list[Path], local: Path) -> Done:
    try:
        return parts.join(video, folders, local)
    except SeamError:  # this file cannot be entered in its middle: slower, and right
        return parts.whole(video, local)
