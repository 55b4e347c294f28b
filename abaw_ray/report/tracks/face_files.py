"""A video -> a local file with its FACE rows, from the results of a run. ``track.py`` reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaw_ray.core.errors import DataError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage


@contextmanager
def open_face_file(where: str, video: str) -> Iterator[Path]:
    """Yield the local path of a video's FACE rows; a remote file is copied for the duration of the context.

    Args:
        where: A ``.parquet`` file of FACE rows, or a folder with results of the stage ``faces`` at any depth; local or a URI.
        video: Path or URI of the video; its rows may be named after any trailing part of it, with or without the suffix.

    Raises:
        DataError: there is no output of this video, or there are several.
        StorageError: the store cannot be reached.
    """
    where = where.rstrip("/")
    folder, _, name = where.rpartition("/") if where.endswith(".parquet") else (where, "", "")
    storage = Storage(StorageConfig(uri=folder or ("/" if where.startswith("/") else ".")))
    if not name:
        found = _find_outputs(storage, video)
        if len(found) != 1:
            count = f"{len(found)} outputs: {', '.join(found[:2])}" if found else "no output"
            raise DataError(f"{storage.uri()}: '{video}' has {count} in the stage 'faces'; name the .parquet file")
        name = found[0]
    if not storage.exists(name):
        raise DataError(f"{storage.uri(name)}: no such file; check the path")
    with storage.local_copy(name) as path:
        yield path


def _find_outputs(storage: Storage, video: str) -> list[str]:
    """Return the paths of all outputs of the stage that match this video, at any settings."""
    components = video.partition("://")[2].split("/") if "://" in video else video.split("/")
    names = {"/".join(components[start:]) for start in range(len(components))}
    names |= {name.rpartition(".")[0] for name in names}
    keys = {_key(name) for name in names if name}
    files = [path for path in storage.files("", recursive=True) if path.endswith(".parquet")]
    return [path for path in files if storage.uri(path).split("/")[-4:-3] == ["faces"] and Path(path).name.rpartition("-")[0] in keys]


def _key(name: str) -> str:
    """Return the prefix of the outputs of an item of this name, whatever its identity."""
    return Item(name=name, identity="").key.rpartition("-")[0]
