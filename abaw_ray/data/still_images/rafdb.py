"""RAF-DB (basic emotions) in either of its layouts -> ``StillImage`` objects; class ids are mapped by name.

(a) the original with ``EmoLabel/list_patition_label.txt`` (so spelled) and the aligned faces, (b) one folder ``1`` .. ``7`` per class.
No image is opened. There is no eighth class. The set of compound emotions has a list of the same name and is rejected.
"""

from pathlib import Path
from typing import Literal

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import RAFDB
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.stills import StillImage, image_files
from abaw_ray.data.trees import Tree

_LABELS = "EmoLabel/list_patition_label.txt"
_SETS: tuple[tuple[str, Literal["train", "val"]], ...] = (("train", "train"), ("test", "val"))
"""Prefix or folder of the data set -> split."""
_FOLDERS = tuple(str(number) for number in range(1, len(RAFDB) + 1))


def read_rafdb(root: str | Path, *, storage: StorageConfig | None = None) -> list[StillImage]:
    """All images of the data set; its test images become the validation split.

    Args:
        root: The folder ``basic/`` or its parent; or a folder with ``1`` .. ``7``, directly or below ``train/`` and ``test/``.
        storage: Access to an object store; only endpoint and region are used.

    Raises:
        DataError: no known layout, a label outside 1..7 (the compound set has eleven), or a name that is neither train nor test.
    """
    tree = Tree(root, storage)
    basic = next((folder for folder in ("basic/", "") if tree.exists(f"{folder}{_LABELS}")), None)
    if basic is not None:
        return _from_list(tree, basic)
    if all(tree.exists(f"{top}/{_FOLDERS[0]}") for top, _ in _SETS):
        return [image for top, split in _SETS for image in _from_class_folders(tree, f"{top}/", split)]
    if tree.exists(_FOLDERS[0]):
        return _from_class_folders(tree, "", None)
    raise DataError(f"{tree.root}: no RAF-DB layout found; expected basic/{_LABELS}, or folders 1 to {len(RAFDB)} (below train/ and test/)")


def _image(tree: Tree, path: str, number: int, split: Literal["train", "val"]) -> StillImage:
    return StillImage(name=f"rafdb/{path}", path=tree.uri(path), expression=RAFDB[number - 1], box=None, split=split, source="rafdb")


def _from_list(tree: Tree, basic: str) -> list[StillImage]:
    where, images = tree.uri(f"{basic}{_LABELS}"), []
    for number, line in enumerate(tree.read_text(f"{basic}{_LABELS}").splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().partition(" ")
        if label.strip() not in _FOLDERS:
            raise DataError(f"{where}:{number}: '{line[:60]}' is not <image> <1..{len(RAFDB)}>; the compound set's labels cannot be used")
        path = f"{basic}Image/aligned/{name.removesuffix('.jpg')}_aligned.jpg"
        images.append(_image(tree, path, int(label), _split(name, f"{where}:{number}")))
    if not images:
        raise DataError(f"{where}: no images listed")
    return images


def _from_class_folders(tree: Tree, top: str, split: Literal["train", "val"] | None) -> list[StillImage]:
    missing = [folder for folder in _FOLDERS if not tree.exists(f"{top}{folder}")]
    if missing or tree.exists(f"{top}{len(RAFDB) + 1}"):
        raise DataError(f"{tree.uri(top)}: expected exactly the folders 1 to {len(RAFDB)}; the compound set's eleven cannot be used")
    return [
        _image(tree, entry.path, int(folder), split or _split(entry.name, tree.uri(entry.path)))
        for folder in _FOLDERS
        for entry in image_files(tree, f"{top}{folder}")
    ]


def _split(name: str, where: str) -> Literal["train", "val"]:
    split: Literal["train", "val"] | None = next((split for prefix, split in _SETS if name.startswith(f"{prefix}_")), None)
    if split is None:
        raise DataError(f"{where}: '{name}' begins with neither train_ nor test_; rename it")
    return split
