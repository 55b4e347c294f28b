"""Generation of the synthetic data set in a place that all machines can read: a local folder, or the object store of the results."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import progress
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.tree import DONE, identity, write_synthetic


def location(root: str, storage: Storage) -> str:
    """Folder or URI of the data set: beside the results if these are in an object store, because other machines cannot read a local folder."""
    return storage.uri("data") if is_remote(storage.config.uri) and not is_remote(root) else root


def is_generated(place: str, storage: Storage) -> bool:
    """Whether a complete data set exists there."""
    return Storage(replace(storage.config, uri=place)).exists(DONE)


def generate(place: str, config: SyntheticConfig, storage: Storage) -> None:
    """Generate the data set unless it exists.

    Args:
        place: A folder, or an address in an object store: see ``location``.
        config: Its content.
        storage: Access to the object store.

    Raises:
        ConfigError: the place holds another data set.
        StorageError: the store cannot be written.
    """
    if is_remote(place):
        _into_store(Storage(replace(storage.config, uri=place)), config)
    else:
        _into_folder(Path(place), config)


def _into_folder(folder: Path, config: SyntheticConfig) -> None:
    with progress("synthetic data", 0, "images") as shown:
        write_synthetic(folder, config, workers=2, progress=shown.set_done)


def _into_store(store: Storage, config: SyntheticConfig) -> None:
    """Generate the data set locally and upload it; the file that marks it as complete is uploaded last."""
    if store.exists(DONE):
        if json.loads(store.read_bytes(DONE))["digest"] != identity(config):
            raise ConfigError(f"{store.uri()}: holds a synthetic data set of other settings or another version; delete it or set data.synthetic-dir")
        return
    with tempfile.TemporaryDirectory(prefix="abaw-synthetic-") as folder:
        _into_folder(Path(folder), config)
        upload_folder(Path(folder), store, "", last=DONE)
