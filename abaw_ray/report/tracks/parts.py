"""A video -> the local file of its FACE rows among the results of a run. What is in it is for ``trackrows.py``; to make one is for ``faces/``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abaw_ray.core.errors import DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item
from abaw_ray.core.storage.storage import Storage


@contextmanager
def found_part(where: str, video: str) -> Iterator[Path]:
    """The part of a video, copied to this machine for as long as it is looked at, where it is not here.

    Args:
        where: A ``.parquet`` file of FACE rows, or a folder with results of the stage ``faces`` at any depth; local or a URI.
        video: Path or URI of the video; its part may be named after any end of it, with or without the suffix.

    Raises:
        DataError: there is no part of this video, or several.
        StorageError: the store cannot be reached.
    """
    where = where.rstrip("/")
    folder, _, name = where.rpartition("/") if where.endswith(".parquet") else (where, "", "")
    storage = Storage(StorageConfig(uri=folder or ("/" if where.startswith("/") else ".")))
    if not name:
        found = _parts(storage, video)
        if len(found) != 1:
            seen = f"{len(found)} parts of it: {', '.join(found[:2])}" if found else "no part of it"
            raise DataError(f"{storage.uri()}: '{video}' has {seen} in the stage 'faces'; name the .parquet file")
        name = found[0]
    if not storage.exists(name):
        raise DataError(f"{storage.uri(name)}: no such file; check the path")
    with storage.local_copy(name) as path:
        yield path


def _parts(storage: Storage, video: str) -> list[str]:
    """Paths of the parts, in any home of the stage, that one would expect for this video."""
    steps = video.partition("://")[2].split("/") if "://" in video else video.split("/")
    names = {"/".join(steps[at:]) for at in range(len(steps))}
    names |= {name.rpartition(".")[0] for name in names}
    keys = {_key(name) for name in names if name}
    files = [path for path in storage.files("", recursive=True) if path.endswith(".parquet")]
    return [path for path in files if storage.uri(path).split("/")[-4:-3] == ["faces"] and Path(path).name.rpartition("-")[0] in keys]


def _key(name: str) -> str:
    """What every part of an item of this name begins with, whatever its identity."""
    return Item(name=name, identity="").key.rpartition("-")[0]
