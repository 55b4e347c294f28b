"""The synthetic data set where all machines see it: in a folder here, or drawn here and put into the object store that the results go to."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import progress
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.tree import DONE, identity, write_synthetic

_AT_ONCE = 16
"""Files that are uploaded at the same time."""


def place_of(root: str, storage: Storage) -> str:
    """Where the data set is drawn to: where results go to an object store, beside them, for other machines see no folder of this one."""
    return storage.uri("data") if is_remote(storage.config.uri) and not is_remote(root) else root


def is_drawn(place: str, storage: Storage) -> bool:
    """Whether all of it is there already."""
    return Storage(replace(storage.config, uri=place)).exists(DONE)


def draw(place: str, config: SyntheticConfig, storage: Storage) -> None:
    """Draw the data set, or find that it is there.

    Args:
        place: A folder, or an address in an object store: see ``place_of``.
        config: What to draw.
        storage: How the object store is reached.

    Raises:
        ConfigError: another data set is there.
        StorageError: the store cannot be written.
    """
    if is_remote(place):
        _into_store(Storage(replace(storage.config, uri=place)), config)
    else:
        _into_folder(Path(place), config)


def _into_folder(folder: Path, config: SyntheticConfig) -> None:
    with progress("drawing", 0, "pictures") as shown:
        write_synthetic(folder, config, workers=2, progress=shown.set_done)


def _into_store(store: Storage, config: SyntheticConfig) -> None:
    """What says that all is there is put there last."""
    if store.exists(DONE):
        if json.loads(store.read_bytes(DONE))["digest"] != identity(config):
            raise ConfigError(f"{store.uri()}: holds a data set drawn with other settings or by another version; delete it or give data.drawn")
        return
    with tempfile.TemporaryDirectory(prefix="abaw-drawn-") as folder:
        _into_folder(Path(folder), config)
        files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != DONE]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: store.put_file(path, path.relative_to(folder).as_posix()), files))
        store.put_file(Path(folder) / DONE, DONE)
