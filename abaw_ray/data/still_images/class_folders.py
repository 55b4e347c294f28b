"""One folder per class -> files and their expressions; for AffectNet's uploads by class and for any images of the user."""

from typing import Literal

from abaw_ray.core.errors import DataError
from abaw_ray.data.still_images.class_map import ClassMap
from abaw_ray.data.stills import image_files
from abaw_ray.data.trees import Entry, Tree

_SPLIT_FOLDERS: dict[Literal["train", "val"], tuple[str, ...]] = {
    "train": ("train", "Train"),
    "val": ("val", "valid", "validation", "test", "Test"),
}
"""Names of a split's folder; the first that exists is used, so images below ``test`` are left out where there is a ``val``."""


def has_splits(tree: Tree) -> bool:
    """Whether the classes are below ``train``, and not directly below the root."""
    return any(tree.exists(name) for name in _SPLIT_FOLDERS["train"])


def split_folder(tree: Tree, split: Literal["train", "val"]) -> str:
    """Name of the folder with the classes of a split.

    Raises:
        DataError: there is none.
    """
    names = _SPLIT_FOLDERS[split]
    found = next((name for name in names if tree.exists(name)), None)
    if found is None:
        raise DataError(f"{tree.root}: no folder {' or '.join(names)}; expected <set>/<class>/*.jpg for both sets")
    return found


def files_by_class(tree: Tree, top: str, source: str, class_map: ClassMap) -> list[tuple[str, list[Entry]]]:
    """Expression and image files of each class folder, in the order of the folders' names; dropped folders are left out.

    Args:
        tree: The data set.
        top: Folder with the class folders, relative to the root; empty for the root.
        source: Name of the data set.
        class_map: Expressions of folders whose name is not that of an expression.

    Raises:
        ConfigError: a folder is neither in the map nor the English name of an expression.
        DataError: the folder does not exist.
    """
    folders = [entry.name for entry in tree.entries(top) if entry.is_folder]
    expressions = class_map.expressions(folders, source, tree.uri(top))
    return [(expression, image_files(tree, f"{top}/{folder}".lstrip("/"))) for folder, expression in expressions.items()]
