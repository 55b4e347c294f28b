"""Still images with one expression each: the result of every reader in ``still_images/``, whatever the layout.

Names and paths only; ``encoder/ingest.py`` reads the images, and a missing or broken one becomes a ``FAILURE`` row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError
from abaw_ray.data.config import Contempt
from abaw_ray.data.trees import Entry, Tree
from abaw_ray.data.videos import is_image


@dataclass(frozen=True, kw_only=True, slots=True)
class StillImage:
    """One labelled still image."""

    name: str
    """``<source>/<path below the data set's root>``: unique per image."""
    path: str
    """Full path or URI of the file."""
    expression: str
    """A name of ``core.expressions``, never a number."""
    box: tuple[float, float, float, float] | None
    """The data set's face box, x0 y0 x1 y1 in pixels of the image; ``None`` where it has none. It selects the face that is labelled; the size of the
    face is that of the detector's box, as for videos."""
    split: Literal["train", "val"]
    source: str
    """Name of the data set: ``affectnet``, ``rafdb``, ``ferplus``, ``expw``, or that of a folder of images."""


def apply_contempt(images: Iterable[StillImage], choice: Contempt) -> list[StillImage]:
    """The images with Contempt kept as its own class, dropped, or relabelled ``Other``.

    Raises:
        ConfigError: the choice is unknown.
    """
    if choice not in get_args(Contempt):
        raise ConfigError(f"contempt='{choice}' is unknown; choose one of {', '.join(get_args(Contempt))}")
    if choice == "own class":
        return list(images)
    if choice == "drop":
        return [image for image in images if image.expression != "Contempt"]
    return [replace(image, expression="Other") if image.expression == "Contempt" else image for image in images]


def image_files(tree: Tree, folder: str) -> list[Entry]:
    """Image files of a folder and its subfolders, sorted by path."""
    return [entry for entry in tree.entries(folder, recursive=True) if not entry.is_folder and is_image(entry.path)]
