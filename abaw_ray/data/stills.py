"""Still images with one expression each: the result of the readers of AffectNet and RAF-DB, whatever the layout.

Names and paths only; ``encoder/ingest.py`` reads the images, and a missing or broken one becomes a ``FAILURE`` row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.data.config import Contempt
from abaw_ray.data.trees import Entry, Tree

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_EXPRESSION_BY_FOLDER = {
    "neutral": "Neutral",
    **dict.fromkeys(("anger", "angry"), "Anger"),
    **dict.fromkeys(("disgust", "disgusted"), "Disgust"),
    **dict.fromkeys(("fear", "afraid", "fearful"), "Fear"),
    **dict.fromkeys(("happiness", "happy"), "Happiness"),
    **dict.fromkeys(("sadness", "sad"), "Sadness"),
    **dict.fromkeys(("surprise", "surprised"), "Surprise"),
    **dict.fromkeys(("contempt", "contemptuous"), "Contempt"),
}


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
    """The data set's face box, x0 y0 x1 y1 in pixels of the image; ``None`` where it has none. It tells which face is labelled; the size of the
    face is that of the detector's box, as for videos."""
    split: Literal["train", "val"]
    source: str
    """``affectnet`` or ``rafdb``."""


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


def class_folders(names: Iterable[str], given: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Folder name -> expression, for layouts with one folder per class.

    Args:
        names: The folders' names.
        given: The user's map; required for numbered folders, because the order differs between uploads. ``drop`` excludes a folder.
        where: The setting or folder, for error messages.

    Raises:
        ConfigError: a folder is neither in the map nor the English name of an expression, or the map has a value that is not an expression.
    """
    invalid = sorted(set((given or {}).values()) - {*ENCODER_CLASSES, "drop"})
    if invalid:
        raise ConfigError(f"{where}: class map gives '{invalid[0]}', which is none of {', '.join(ENCODER_CLASSES)}, drop")
    expressions, unknown = {}, []
    for name in names:
        expression = given.get(name) if given is not None else _EXPRESSION_BY_FOLDER.get(name.lower())
        if expression is None:
            unknown.append(name)
        elif expression != "drop":
            expressions[name] = expression
    if unknown:
        raise ConfigError(
            f"{where}: unknown class of the folders {', '.join(unknown)}: uploads number them differently; pass a class map such as "
            f"{{'{unknown[0]}': 'Neutral'}} for all folders"
        )
    return expressions


def image_files(tree: Tree, folder: str) -> list[Entry]:
    """Image files of a folder and its subfolders, sorted by path."""
    return [entry for entry in tree.entries(folder, recursive=True) if not entry.is_folder and entry.path.lower().endswith(IMAGE_SUFFIXES)]
