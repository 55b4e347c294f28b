"""Any still images in one folder per class -> ``StillImage`` objects.

(a) ``<root>/train/<class>/*`` and ``<root>/val/<class>/*`` (also ``valid``, ``validation`` or ``test``), (b) ``<root>/<class>/*``, of which a
fraction of each class is held out for validation. No image is opened.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.still_images.class_folders import files_by_class, has_splits, split_folder
from abaw_ray.data.still_images.class_map import ClassMap
from abaw_ray.data.still_images.holdout import hold_out
from abaw_ray.data.stills import StillImage
from abaw_ray.data.trees import Entry, Tree

_SPLITS: tuple[Literal["train", "val"], ...] = ("train", "val")


def name_folders(roots: Iterable[str], reserved: Iterable[str]) -> dict[str, str]:
    """Source -> root: the source is the last part of the root's path.

    Args:
        roots: Folders or URIs.
        reserved: Names of other data sets.

    Raises:
        ConfigError: a root has no name of its own, or the name of another data set.
    """
    named: dict[str, str] = {}
    reserved = set(reserved)
    for root in roots:
        name = root.rstrip("/").rpartition("/")[2]
        if name in ("", ".", ".."):
            raise ConfigError(f"data.image_folders: '{root}' ends in no name; the name of the folder is that of the data set, give its full path")
        if name in named or name in reserved:
            raise ConfigError(f"data.image_folders: {root}: another data set has the name '{name}'; rename the folder")
        named[name] = root
    return named


def read_image_folder(
    root: str | Path,
    source: str,
    *,
    class_map: ClassMap | None = None,
    val_fraction: float = 0.1,
    val_seed: int = 0,
    storage: StorageConfig | None = None,
) -> list[StillImage]:
    """All images below the class folders, in the order of their paths within each class.

    Args:
        root: The folder.
        source: Name of the data set.
        class_map: Expressions of folders whose name is not that of an expression.
        val_fraction: Layout (b): fraction of each class that is held out for validation.
        val_seed: Layout (b): seed of the choice.
        storage: Access to an object store; only endpoint and region are used.

    Raises:
        ConfigError: the expression of a folder is unknown.
        DataError: the root does not exist, has ``train`` but no validation folder, or has no image in a class folder.
    """
    tree, class_map = Tree(root, storage), class_map or ClassMap()

    def image(entry: Entry, expression: str, split: Literal["train", "val"]) -> StillImage:
        return StillImage(name=f"{source}/{entry.path}", path=tree.uri(entry.path), expression=expression, box=None, split=split, source=source)

    if has_splits(tree):
        found = [
            image(entry, expression, split)
            for split in _SPLITS
            for expression, entries in files_by_class(tree, split_folder(tree, split), source, class_map)
            for entry in entries
        ]
    else:
        found = []
        for expression, entries in files_by_class(tree, "", source, class_map):
            held_out = hold_out((entry.path for entry in entries), val_fraction, val_seed)
            found += [image(entry, expression, "val" if entry.path in held_out else "train") for entry in entries]
    if not found:
        raise DataError(f"{tree.root}: no image in a class folder; expected <class>/*.jpg, or train/<class>/*.jpg and val/<class>/*.jpg")
    return found
