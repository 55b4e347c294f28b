"""FER+ (the images of FER-2013 with ten votes each) -> ``StillImage`` objects; the columns of votes are read by name.

``fer2013new.csv`` has the votes, and the images are in ``FER2013Train``, ``FER2013Valid`` and ``FER2013Test``, as ``generate_training_data.py`` of
the FER+ repository writes them. No image is opened. The images are gray and have 48 x 48 pixels, so the encoder sees them enlarged.
"""

import io
import logging
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from jaxtyping import Bool, Float64, Int

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import FERPLUS
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.stills import StillImage
from abaw_ray.data.trees import Tree

log = logging.getLogger(__name__)

_LIST = "fer2013new.csv"
_SETS: dict[str, tuple[str, Literal["train", "val"]]] = {"Training": ("FER2013Train", "train"), "PublicTest": ("FER2013Valid", "val")}
"""Usage -> folder and split."""
_TEST_USAGE = "PrivateTest"
"""Usage of the test images, which serve neither for training nor for choices."""
_VOTES = (*(name.lower() for name in FERPLUS), "unknown", "NF")
"""Columns of votes; the last two are no expression."""


def read_ferplus(root: str | Path, *, min_agreement: float = 0.5, storage: StorageConfig | None = None) -> list[StillImage]:
    """The images of FER+'s training and validation set with a majority for one expression, in the order of the list.

    Args:
        root: Folder with ``fer2013new.csv``, and with the folders of images directly or below ``data/``.
        min_agreement: The winner needs more than this fraction of the votes; single votes count as outliers and are removed first.
        storage: Access to an object store; only endpoint and region are used.

    Raises:
        DataError: a file, folder or column is missing, or a row is invalid; the message has the line.

    Source: Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution, ICMI 2016, and the
    authors' code: removal of single votes, and a majority of more than half.
    """
    tree = Tree(root, storage)
    table, top = _read_list(tree), _image_folder(tree)
    usages, names = table.column("Usage").to_pylist(), table.column("Image name").to_pylist()
    has_image, is_used = np.array(names) != "", np.isin(usages, list(_SETS))
    winner, agreed = count_votes(np.stack([table.column(name).to_numpy() for name in _VOTES], axis=1), min_agreement)
    log.info(
        "%s: %d rows; left out: %d of %s, %d without an image, %d without a majority for an expression",
        tree.uri(_LIST),
        len(usages),
        (~is_used).sum(),
        _TEST_USAGE,
        (is_used & ~has_image).sum(),
        (is_used & has_image & ~agreed).sum(),
    )
    return [
        _image(tree, f"{top}{_SETS[usages[row]][0]}/{names[row]}", FERPLUS[winner[row]], _SETS[usages[row]][1])
        for row in np.flatnonzero(has_image & is_used & agreed)
    ]


def count_votes(votes: Float64[np.ndarray, "n 10"], min_agreement: float) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Column with the most votes of each image, and whether it is an expression with a majority: the only such column, with more than
    ``min_agreement`` of the votes, where single votes are removed first.
    """
    counted = np.where(votes > 1, votes, 0)
    most = counted.max(axis=1, keepdims=True)
    is_only = (counted == most).sum(axis=1) == 1
    winner = counted.argmax(axis=1)
    return winner, is_only & (most[:, 0] > min_agreement * counted.sum(axis=1)) & (winner < len(FERPLUS))


def _image_folder(tree: Tree) -> str:
    """Folder of the three folders with images, with a slash; empty for the root."""
    train = _SETS["Training"][0]
    top = next((top for top in ("", "data/") if tree.exists(f"{top}{train}")), None)
    if top is None:
        raise DataError(f"{tree.uri(train)}: no such folder; write the images with generate_training_data.py of the FER+ repository")
    return top


def _image(tree: Tree, path: str, expression: str, split: Literal["train", "val"]) -> StillImage:
    return StillImage(name=f"ferplus/{path}", path=tree.uri(path), expression=expression, box=None, split=split, source="ferplus")


def _read_list(tree: Tree) -> pa.Table:
    if not tree.exists(_LIST):
        raise DataError(f"{tree.uri(_LIST)}: no such file; it is in the FER+ repository")
    types = {"Usage": pa.string(), "Image name": pa.string()} | dict.fromkeys(_VOTES, pa.float64())
    options = pacsv.ConvertOptions(column_types=types, include_columns=list(types))
    try:
        table = pacsv.read_csv(io.BytesIO(tree.read(_LIST)), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise DataError(f"{tree.uri(_LIST)}: {' '.join(str(error).split())}; expected the columns {', '.join(types)}") from error
    usages = table.column("Usage").to_pylist()
    unknown = next((row for row, usage in enumerate(usages) if usage not in (*_SETS, _TEST_USAGE)), None)
    if unknown is not None:
        raise DataError(f"{tree.uri(_LIST)}:{unknown + 2}: usage is '{usages[unknown]}', not {', '.join(_SETS)} or {_TEST_USAGE}")
    for name in _VOTES:
        invalid = np.flatnonzero(~(table.column(name).to_numpy() >= 0))
        if len(invalid):
            raise DataError(f"{tree.uri(_LIST)}:{invalid[0] + 2}: '{name}' is not a number of votes; fetch the file again")
    return table
