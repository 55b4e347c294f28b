"""Copies the files of a bundle, or its encoder alone, to a folder or URI."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.storage import Storage
from abaw_ray.predict.bundle.metadata import ENCODER_FOLDER, METADATA_FILE
from abaw_ray.predict.bundle.store import ModelBundle

Parts = Literal["all", "encoder"]


def check_empty(storage: Storage) -> None:
    """Refuse a target that has files.

    Raises:
        ConfigError: it is not empty.
        StorageError: it cannot be read.
    """
    if names := list(storage.files("", recursive=True)):
        raise ConfigError(f"{storage.uri()}: is not empty, it has {names[0]}; choose another folder with -o")


def copy_bundle(bundle: ModelBundle, storage: Storage, parts: Parts = "all") -> None:
    """Copy the listed files of an opened bundle to the root of a storage; ``bundle.json`` comes last.

    Args:
        bundle: An opened bundle.
        storage: The target.
        parts: ``encoder`` copies the files of the encoder only: the folder for ``timm.create_model("local-dir:FOLDER", pretrained=True)``.

    Raises:
        ConfigError: the bundle has no encoder.
        StorageError: the target cannot be written.
    """
    names = [*bundle.metadata.files, METADATA_FILE]
    if parts == "all":
        copy_files(bundle.folder, {name: name for name in names}, storage)
        return
    encoder = {name: name.removeprefix(f"{ENCODER_FOLDER}/") for name in names if name.startswith(f"{ENCODER_FOLDER}/")}
    if not encoder:
        raise ConfigError(f"--parts encoder: {bundle.metadata.name} is an image classifier without a separate encoder; use --parts all")
    copy_files(bundle.folder, encoder, storage)


def copy_files(folder: Path, names: Mapping[str, str], storage: Storage) -> None:
    """Copy files of a local folder in this order; ``names`` maps their paths to those at the root of the storage."""
    for name, target in names.items():
        storage.put_file(folder / name, target)
