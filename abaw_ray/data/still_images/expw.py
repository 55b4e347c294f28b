"""ExpW (Expression in-the-Wild) -> ``StillImage`` objects, one per labelled face; class ids are mapped by name.

``label.lst`` has one line per face: ``<image> <face id> <top> <left> <right> <bottom> <confidence> <label>``. An image may have several faces. No
image is opened. There is no official split: a fraction of the images is held out, with all of their faces.
"""

import logging
from pathlib import Path

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPW
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.still_images.holdout import hold_out
from abaw_ray.data.stills import StillImage
from abaw_ray.data.trees import Tree

log = logging.getLogger(__name__)

_LISTS = ("label.lst", "label/label.lst", "data/label/label.lst")
_IMAGE_FOLDERS = ("origin", "image/origin", "data/image/origin", "image", "images")
_Face = tuple[str, str, tuple[float, float, float, float], str]
"""Image, face id, box as x0 y0 x1 y1, expression."""


def read_expw(root: str | Path, *, val_fraction: float = 0.1, val_seed: int = 0, storage: StorageConfig | None = None) -> list[StillImage]:
    """All labelled faces, in the order of the list; of lines for the same face of an image, only the first counts.

    Args:
        root: Folder with ``label.lst`` (or ``label/label.lst``, ``data/label/label.lst``) and the unpacked images in ``origin/`` (or
            ``image/origin/``, ``data/image/origin/``, ``image/``, ``images/``).
        val_fraction: Fraction of the images that is held out for validation.
        val_seed: Seed of the choice.
        storage: Access to an object store; only endpoint and region are used.

    Raises:
        DataError: a file or folder is missing, or a line has another form; the message has the line.
    """
    tree = Tree(root, storage)
    path = next((path for path in _LISTS if tree.exists(path)), None)
    folder = next((folder for folder in _IMAGE_FOLDERS if tree.exists(folder)), None)
    if path is None or folder is None:
        missing, expected = ("list", _LISTS) if path is None else ("folder with images", _IMAGE_FOLDERS)
        raise DataError(f"{tree.root}: no {missing} of ExpW found; expected {' or '.join(expected)}")
    where, faces, repeated = tree.uri(path), dict[tuple[str, str], _Face](), 0
    for number, line in enumerate(tree.read_text(path).splitlines(), start=1):
        if line.strip():
            face = _parse(line, f"{where}:{number}")
            repeated += face[:2] in faces
            faces.setdefault(face[:2], face)
    if not faces:
        raise DataError(f"{where}: no faces listed; is this the right file?")
    held_out = hold_out((image for image, _ in faces), val_fraction, val_seed)
    log.info("%s: %d faces, %d repeated lines left out; %d images held out for validation", where, len(faces), repeated, len(held_out))
    return [
        StillImage(
            name=f"expw/{folder}/{image}#{face}",
            path=tree.uri(f"{folder}/{image}"),
            expression=expression,
            box=box,
            split="val" if image in held_out else "train",
            source="expw",
        )
        for image, face, box, expression in faces.values()
    ]


def _parse(line: str, where: str) -> _Face:
    try:
        image, face, top, left, right, bottom, _, label = line.strip().rsplit(maxsplit=7)
        number, box = int(label), (float(left), float(top), float(right), float(bottom))
    except ValueError:
        number, image, face, box = -1, "", "", (0.0, 0.0, 0.0, 0.0)
    if not 0 <= number < len(EXPW):
        raise DataError(f"{where}: '{line[:80]}' is not <image> <face id> <top> <left> <right> <bottom> <confidence> <0..{len(EXPW) - 1}>")
    return image, face, box, EXPW[number]
