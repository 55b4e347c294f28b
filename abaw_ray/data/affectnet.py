"""AffectNet in any of its three layouts -> ``StillImage`` rows, ids mapped by name.

(a) the original with ``training.csv`` and boxes, (b) the re-release with one ``<id>_exp.npy`` an image, (c) one folder a class.
Pictures are not opened. Images without an expression (None, Uncertain, Non-Face) or, in (a), without a face box are left out and counted
in the log.
"""

import io
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import AFFECTNET
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.config import Contempt
from abaw_ray.data.stills import StillImage, class_folders, pictures, with_contempt
from abaw_ray.data.trees import Tree

log = logging.getLogger(__name__)

_IDS = 11
"""Expression ids 0..10; 8, 9 and 10 are None, Uncertain and Non-Face."""
_LISTS: dict[Literal["train", "val"], str] = {"train": "training.csv", "val": "validation.csv"}
_SETS: dict[Literal["train", "val"], str] = {"train": "train_set", "val": "val_set"}
_CLASS_SETS: dict[Literal["train", "val"], tuple[str, ...]] = {"train": ("train", "Train"), "val": ("val", "valid", "validation", "test", "Test")}
_LIST_FOLDERS = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/")
_IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
_NUMBERS = ("face_x", "face_y", "face_width", "face_height", "expression")
_READERS = 16
"""Threads that read the small files of layout (b); they wait for storage, not for the processor."""


def read_affectnet(
    root: str | Path,
    *,
    contempt: Contempt = "own class",
    class_map: Mapping[str, str] | None = None,
    storage: StorageConfig | None = None,
) -> list[StillImage]:
    """All usable images of the data set, in the order of its lists (a) or of their paths (b, c).

    Args:
        root: Holds one of the three layouts of ``DATA.md`` section 2.
        contempt: What becomes of the eighth expression.
        class_map: Layout (c) only: folder name -> expression; needed where folders are numbered.
        storage: Where an object store is; only its endpoint and region matter here.

    Raises:
        DataError: no known layout, a list without its columns, an id outside 0..10; the message says file and, where there is one, line.
        ConfigError: layout (c) with numbered folders and no map, or an unknown choice.
    """
    tree = Tree(root, storage)
    lists = next((folder for folder in _LIST_FOLDERS if tree.has(f"{folder}{_LISTS['train']}")), None)
    if lists is not None:
        images = _both(lambda split: _of_list(tree, f"{lists}{_LISTS[split]}", split))
    elif tree.has(f"{_SETS['train']}/annotations"):
        images = _both(lambda split: _of_release(tree, _SETS[split], split))
    elif any(tree.has(name) for name in _CLASS_SETS["train"]):
        images = _both(lambda split: _of_folders(tree, split, class_map))
    else:
        raise DataError(f"{tree.root}: no AffectNet there; wanted is training.csv, train_set/annotations, or train/<class>")
    return with_contempt(images, contempt)


def _both(read: Callable[[Literal["train", "val"]], list[StillImage]]) -> list[StillImage]:
    return [*read("train"), *read("val")]


def _image(tree: Tree, path: str, expression: str, split: Literal["train", "val"], box: tuple | None = None) -> StillImage:
    return StillImage(name=f"affectnet/{path}", path=tree.uri(path), expression=expression, box=box, split=split, source="affectnet")


def _of_list(tree: Tree, path: str, split: Literal["train", "val"]) -> list[StillImage]:
    folder = next((folder for folder in _IMAGE_FOLDERS if tree.has(folder)), None)
    if folder is None:
        raise DataError(f"{tree.uri(_IMAGE_FOLDERS[0])}: no such folder, though {path} is there; the images of its rows belong there")
    table = _read_list(tree, path)
    x, y, width, height, ids = (table.column(name).to_numpy() for name in _NUMBERS)
    where = tree.uri(path)
    bad = np.flatnonzero(~np.isin(ids, np.arange(_IDS)))
    if len(bad):
        raise DataError(f"{where}:{bad[0] + 2}: expression is {ids[bad[0]]:g}, not 0..{_IDS - 1}")
    named, boxed = ids < len(AFFECTNET), (width > 0) & (height > 0)
    log.info("%s: %d rows, %d without an expression, %d more without a face box", where, len(ids), (~named).sum(), (named & ~boxed).sum())
    names, ids = table.column("subDirectory_filePath").to_pylist(), ids.astype(np.int64)
    boxes = np.stack([x, y, x + width, y + height], axis=1)
    return [_image(tree, f"{folder}/{names[row]}", AFFECTNET[ids[row]], split, tuple(boxes[row].tolist())) for row in np.flatnonzero(named & boxed)]


def _read_list(tree: Tree, path: str) -> pa.Table:
    types = {name: pa.float64() for name in _NUMBERS} | {"subDirectory_filePath": pa.string()}
    options = pacsv.ConvertOptions(column_types=types, include_columns=list(types), null_values=["NULL", "null", ""])
    try:
        return pacsv.read_csv(io.BytesIO(tree.read(path)), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{tree.uri(path)}: {reason}; wanted are the columns subDirectory_filePath, {', '.join(_NUMBERS)}") from error


def _of_release(tree: Tree, folder: str, split: Literal["train", "val"]) -> list[StillImage]:
    found = [entry.name.removesuffix("_exp.npy") for entry in tree.entries(f"{folder}/annotations") if entry.name.endswith("_exp.npy")]
    if not found:
        raise DataError(f"{tree.uri(folder)}/annotations: no <id>_exp.npy there")
    with ThreadPoolExecutor(_READERS) as pool:
        ids = list(pool.map(lambda name: _read_id(tree, f"{folder}/annotations/{name}_exp.npy"), found))
    log.info("%s: %d images, %d without an expression", tree.uri(folder), len(ids), sum(number >= len(AFFECTNET) for number in ids))
    return [
        _image(tree, f"{folder}/images/{name}.jpg", AFFECTNET[number], split)
        for name, number in zip(found, ids, strict=True)
        if number < len(AFFECTNET)
    ]


def _read_id(tree: Tree, path: str) -> int:
    """The one number of an annotation; some files hold it as text."""
    try:
        number = int(np.load(io.BytesIO(tree.read(path)), allow_pickle=False).item())
    except (ValueError, EOFError) as error:
        raise DataError(f"{tree.uri(path)}: not one number ({error}); fetch the file again") from error
    if not 0 <= number < _IDS:
        raise DataError(f"{tree.uri(path)}: expression is {number}, not 0..{_IDS - 1}")
    return number


def _of_folders(tree: Tree, split: Literal["train", "val"], class_map: Mapping[str, str] | None) -> list[StillImage]:
    top = next((name for name in _CLASS_SETS[split] if tree.has(name)), None)
    if top is None:
        raise DataError(f"{tree.root}: no folder {' or '.join(_CLASS_SETS[split])}; wanted is <set>/<class>/*.jpg for both sets")
    classes = class_folders([entry.name for entry in tree.entries(top) if entry.folder], class_map, tree.uri(top))
    return [_image(tree, entry.path, expression, split) for name, expression in classes.items() for entry in pictures(tree, f"{top}/{name}")]
