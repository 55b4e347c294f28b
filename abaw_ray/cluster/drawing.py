"""The synthetic data set where all machines see it: in a folder here, or drawn here and put into the object store that the results go to."""

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import progress
from abaw_ray.core.storage import Storage, is_remote
from abaw_ray.data.synthetic.tree import DONE, identity, write_synthetic

if TYPE_CHECKING:
    from abaw_ray.cluster.job import DataConfig

_AT_ONCE = 16
"""Files that are uploaded at the same time."""


def drawn(data: "DataConfig", storage: Storage) -> "DataConfig":
    """Draw the synthetic data set where asked for, and point at its three parts as if the user had given them.

    Where results go to an object store, so does the data set, for other machines do not see this one's folders.

    Raises:
        ConfigError: another data set is there.
        StorageError: the store cannot be written.
    """
    if not data.draw:
        return data
    root = _root(data, storage)
    if is_remote(root):
        _draw_into(Storage(replace(storage.config, uri=root)), data)
    else:
        _draw(Path(root), data)
    return replace(data, draw=False, affwild2=f"{root}/affwild2", affectnet=f"{root}/affectnet", rafdb=f"{root}/rafdb")


def is_drawn(data: "DataConfig", storage: Storage) -> bool:
    """Whether the data set is there already."""
    return Storage(replace(storage.config, uri=_root(data, storage))).exists(DONE)


def _root(data: "DataConfig", storage: Storage) -> str:
    return storage.uri("data") if is_remote(storage.config.uri) and not is_remote(data.drawn) else data.drawn


def _draw(folder: Path, data: "DataConfig") -> None:
    with progress("drawing", 0, "pictures") as shown:
        write_synthetic(folder, data.synthetic, workers=2, progress=shown.reach)


def _draw_into(store: Storage, data: "DataConfig") -> None:
    """Likewise; what says that all is there is put there last."""
    if store.exists(DONE):
        if json.loads(store.read_bytes(DONE))["digest"] != identity(data.synthetic):
            raise ConfigError(f"{store.uri()}: holds a data set drawn with other settings or by another version; delete it or give data.drawn")
        return
    with tempfile.TemporaryDirectory(prefix="abaw-drawn-") as folder:
        _draw(Path(folder), data)
        files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != DONE]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: store.put_file(path, path.relative_to(folder).as_posix()), files))
        store.put_file(Path(folder) / DONE, DONE)
