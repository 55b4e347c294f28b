"""AffectNet in any of its three layouts -> ``StillImage`` objects; class ids are mapped by name.

(a) the original with ``training.csv`` and boxes, (b) the re-release with one ``<id>_exp.npy`` per image, (c) one folder per class.
No image is opened. Images without an expression (None, Uncertain, Non-Face) or, in (a), without a face box are excluded and counted in the
log.
"""

import io
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import AFFECTNET
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.still_images.class_folders import files_by_class, has_splits, split_folder
from abaw_ray.data.still_images.class_map import ClassMap
from abaw_ray.data.stills import StillImage
from abaw_ray.data.trees import Tree

log = logging.getLogger(__name__)

_NUM_IDS = 11
"""Expression ids 0..10; 8, 9 and 10 are None, Uncertain and Non-Face."""
_LISTS: dict[Literal["train", "val"], str] = {"train": "training.csv", "val": "validation.csv"}
_SETS: dict[Literal["train", "val"], str] = {"train": "train_set", "val": "val_set"}
_LIST_FOLDERS = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/")
_IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
_NUMBER_COLUMNS = ("face_x", "face_y", "face_width", "face_height", "expression")
_READ_THREADS = 16
"""Threads that read the small files of layout (b); reading them is bound by storage latency."""


def read_affectnet(root: str | Path, *, class_map: ClassMap | None = None, storage: StorageConfig | None = None) -> list[StillImage]:
    """All usable images of the data set, in the order of its lists (a) or of their paths (b, c).

    Args:
        root: Folder in one of the three layouts (``docs/data.md``, section 2).
        class_map: Layout (c) only: expressions of the folders; needed where they are numbered.
        storage: Access to an object store; only endpoint and region are used.

    Raises:
        DataError: no known layout, a list without its columns, an id outside 0..10; the message has the file and, for a list, the line.
        ConfigError: layout (c) with numbered folders that the map does not have.
    """
    tree = Tree(root, storage)
    lists = next((folder for folder in _LIST_FOLDERS if tree.exists(f"{folder}{_LISTS['train']}")), None)
    if lists is not None:
        return _both_splits(lambda split: _from_list(tree, f"{lists}{_LISTS[split]}", split))
    if tree.exists(f"{_SETS['train']}/annotations"):
        return _both_splits(lambda split: _from_re_release(tree, _SETS[split], split))
    if has_splits(tree):
        return _both_splits(lambda split: _from_class_folders(tree, split, class_map or ClassMap()))
    raise DataError(f"{tree.root}: no AffectNet layout found; expected training.csv, train_set/annotations, or train/<class>")


def _both_splits(read: Callable[[Literal["train", "val"]], list[StillImage]]) -> list[StillImage]:
    return [*read("train"), *read("val")]


def _image(tree: Tree, path: str, expression: str, split: Literal["train", "val"], box: tuple | None = None) -> StillImage:
    return StillImage(name=f"affectnet/{path}", path=tree.uri(path), expression=expression, box=box, split=split, source="affectnet")


def _from_list(tree: Tree, path: str, split: Literal["train", "val"]) -> list[StillImage]:
    folder = next((folder for folder in _IMAGE_FOLDERS if tree.exists(folder)), None)
    if folder is None:
        raise DataError(f"{tree.uri(_IMAGE_FOLDERS[0])}: no such folder, although {path} exists; put the images of its rows there")
    table = _read_list(tree, path)
    x, y, width, height, ids = (table.column(name).to_numpy() for name in _NUMBER_COLUMNS)
    list_uri = tree.uri(path)
    invalid = np.flatnonzero(~np.isin(ids, np.arange(_NUM_IDS)))
    if len(invalid):
        raise DataError(f"{list_uri}:{invalid[0] + 2}: expression is {ids[invalid[0]]:g}, not 0..{_NUM_IDS - 1}")
    has_expression, has_box = ids < len(AFFECTNET), (width > 0) & (height > 0)
    log.info(
        "%s: %d rows, %d without an expression, %d more without a face box",
        list_uri,
        len(ids),
        (~has_expression).sum(),
        (has_expression & ~has_box).sum(),
    )
    names, ids = table.column("subDirectory_filePath").to_pylist(), ids.astype(np.int64)
    boxes = np.stack([x, y, x + width, y + height], axis=1)
    return [
        _image(tree, f"{folder}/{names[row]}", AFFECTNET[ids[row]], split, tuple(boxes[row].tolist()))
        for row in np.flatnonzero(has_expression & has_box)
    ]


def _read_list(tree: Tree, path: str) -> pa.Table:
    types = {name: pa.float64() for name in _NUMBER_COLUMNS} | {"subDirectory_filePath": pa.string()}
    options = pacsv.ConvertOptions(column_types=types, include_columns=list(types), null_values=["NULL", "null", ""])
    try:
        return pacsv.read_csv(io.BytesIO(tree.read(path)), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{tree.uri(path)}: {reason}; expected the columns subDirectory_filePath, {', '.join(_NUMBER_COLUMNS)}") from error


def _from_re_release(tree: Tree, folder: str, split: Literal["train", "val"]) -> list[StillImage]:
    names = [entry.name.removesuffix("_exp.npy") for entry in tree.entries(f"{folder}/annotations") if entry.name.endswith("_exp.npy")]
    if not names:
        raise DataError(f"{tree.uri(folder)}/annotations: no <id>_exp.npy found")
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        ids = list(pool.map(lambda name: _read_id(tree, f"{folder}/annotations/{name}_exp.npy"), names))
    log.info("%s: %d images, %d without an expression", tree.uri(folder), len(ids), sum(number >= len(AFFECTNET) for number in ids))
    return [
        _image(tree, f"{folder}/images/{name}.jpg", AFFECTNET[number], split)
        for name, number in zip(names, ids, strict=True)
        if number < len(AFFECTNET)
    ]


def _read_id(tree: Tree, path: str) -> int:
    """The class id in an annotation file; some files hold it as text."""
    try:
        number = int(np.load(io.BytesIO(tree.read(path)), allow_pickle=False).item())
    except (ValueError, EOFError) as error:
        raise DataError(f"{tree.uri(path)}: not one number ({error}); fetch the file again") from error
    if not 0 <= number < _NUM_IDS:
        raise DataError(f"{tree.uri(path)}: expression is {number}, not 0..{_NUM_IDS - 1}")
    return number


def _from_class_folders(tree: Tree, split: Literal["train", "val"], class_map: ClassMap) -> list[StillImage]:
    classes = files_by_class(tree, split_folder(tree, split), "affectnet", class_map)
    return [_image(tree, entry.path, expression, split) for expression, entries in classes for entry in entries]
