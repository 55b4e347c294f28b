"""Writes model bundles to storage, and opens them: a folder of safetensors and JSON files.

``bundle.json`` is written last and lists all other files with sizes and SHA-256 digests, so an incomplete or damaged bundle is refused.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.file_digest import file_sha256
from abaw_ray.core.model_card import CARD_FILE
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.predict.bundle.card import render_card
from abaw_ray.predict.bundle.metadata import METADATA_FILE, BundleFile, BundleMetadata, read_metadata

_SUFFIXES = (".safetensors", ".json")
"""Files of a bundle besides its card: formats that cannot run code when they are read."""
_HASH_THREADS = 2
REMEDY = (
    "give the folder model/ of a finished pipeline, its s3:// or gs:// URI, or owner/name on the model hub; "
    "abaw-ray models import makes one from an image classifier"
)
"""The ways to get a model, for messages."""


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """An opened, verified bundle."""

    folder: Path
    """Local folder with its files."""
    metadata: BundleMetadata
    """Its description."""


def finish_bundle(folder: Path, metadata: BundleMetadata) -> BundleMetadata:
    """Write the card and ``bundle.json`` of a local folder that holds all other files; returns the metadata with the list of files."""
    (folder / CARD_FILE).write_text(render_card(metadata), encoding="utf-8")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != METADATA_FILE)
    files = {path.relative_to(folder).as_posix(): BundleFile(size=path.stat().st_size, sha256=file_sha256(path)) for path in paths}
    complete = replace(metadata, files=files)
    (folder / METADATA_FILE).write_bytes(complete.to_json())
    return complete


def upload_bundle(folder: Path, storage: Storage, path: str) -> None:
    """Replace the bundle at a path of the storage by that in a local folder."""
    storage.delete(f"{path}/{METADATA_FILE}")  # until all files are there, none of them is a bundle
    upload_folder(folder, storage, path, last=METADATA_FILE)


def has_bundle(storage: Storage, path: str, identity: str) -> bool:
    """Whether the storage has a complete bundle of this identity."""
    if not storage.exists(f"{path}/{METADATA_FILE}"):
        return False
    try:
        with storage.local_copy(f"{path}/{METADATA_FILE}") as local:
            metadata = read_metadata(local, path)
    except DataError:
        return False  # it is written again
    stored = storage.files(path, recursive=True)
    return metadata.identity == identity and all(stored.get(name) == file.size for name, file in metadata.files.items())


@contextmanager
def open_bundle(model: str, storage: StorageConfig | None = None) -> Iterator[ModelBundle]:
    """A verified bundle in a local folder, which a remote one is copied to while it is open.

    Args:
        model: A folder, an ``s3://`` or ``gs://`` URI, or ``owner/name`` on the model hub.
        storage: Settings of object stores.

    Raises:
        ConfigError: there is no such bundle.
        DataError: it is damaged, or no bundle.
        StorageError: the store cannot be read.
    """
    if not model:
        raise ConfigError(f"no model was given, and there is no default one; {REMEDY}")
    source = WeightsSource(setting="model", value=model, remedy=REMEDY, storage=storage or StorageConfig())
    with source.local_files(METADATA_FILE, lambda path: list(_checked(read_metadata(path, model), model).files)) as folder:
        metadata = read_metadata(folder / METADATA_FILE, model)
        _verify(folder, metadata, model)
        yield ModelBundle(folder=folder, metadata=metadata)


def _checked(metadata: BundleMetadata, model: str) -> BundleMetadata:
    """The metadata, if all listed files stay below the folder and are of the formats of a bundle."""
    for name in metadata.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not (name == CARD_FILE or name.endswith(_SUFFIXES)):
            raise DataError(f"{model}: lists '{name}'; a model has only {' and '.join(_SUFFIXES)} files in its own folder")
    return metadata


def _verify(folder: Path, metadata: BundleMetadata, model: str) -> None:
    _checked(metadata, model)
    for name, file in metadata.files.items():
        if not (folder / name).is_file():
            raise DataError(f"{model}: {name} is missing; copy the model again")
        if (size := (folder / name).stat().st_size) != file.size:
            raise DataError(f"{model}: {name} has {size:,} bytes instead of {file.size:,}; copy the model again")
    with ThreadPoolExecutor(_HASH_THREADS) as pool:
        digests = pool.map(lambda name: file_sha256(folder / name), metadata.files)
        for (name, file), found in zip(metadata.files.items(), digests, strict=True):
            if found != file.sha256:
                raise DataError(
                    f"{model}: the content of {name} has changed (SHA-256 {found[:12]}... instead of {file.sha256[:12]}...); copy it again"
                )
