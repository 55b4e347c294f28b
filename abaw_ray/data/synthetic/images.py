"""Writes the drawn stills in the layouts of AffectNet (the original one, with lists) and of RAF-DB (aligned).

A list is known before anything is drawn; its images are drawn in any order, by any number of workers. Every image is another person.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from abaw_ray.core.expressions import AFFECTNET, RAFDB
from abaw_ray.core.settings import digest
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.files import placed
from abaw_ray.data.synthetic.scene.stills import Still, aligned, photograph

COLUMNS = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
"""Header of AffectNet's lists."""
UNUSED: tuple[int, ...] = (8, 9, 10)
"""AffectNet's ids None, Uncertain and Non-Face."""
_SHARES: dict[str, float] = {"Neutral": 1.3, "Happiness": 1.3, "Contempt": 0.8}
"""Relative frequency of expressions, 1 where not named: moderately unequal."""
_AFFECT: dict[str, tuple[float, float]] = {
    "Neutral": (0.0, 0.0),
    "Happiness": (0.8, 0.4),
    "Sadness": (-0.7, -0.3),
    "Surprise": (0.2, 0.8),
    "Fear": (-0.5, 0.8),
    "Disgust": (-0.7, 0.5),
    "Anger": (-0.6, 0.7),
    "Contempt": (-0.5, 0.3),
}
"""Valence and arousal of each expression, about."""
_QUALITY = 92
"""Of the JPEG files."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """One image of a list."""

    name: str
    """Names its person and its random numbers."""
    path: str
    """Below the data set's root."""
    label: int
    """In the data set's own numbers."""
    boxless: bool = False
    """AffectNet's detector found no face: a negative width stands in the list."""


def affectnet_lists(config: SyntheticConfig) -> dict[str, list[Image]]:
    """Images of training.csv and validation.csv; a twentieth of them more than asked for are of the kinds that a reader leaves out."""
    lists = {}
    for name, count in (("training", config.affectnet), ("validation", config.affectnet_validation)):
        rng = generator(config.seed, "affectnet", name)
        labels = _shares(rng, count, AFFECTNET)
        extra = [*UNUSED, *([None] * 2)] * max(1, count // 100)
        order = rng.permutation(len(labels) + len(extra))
        entries = [[*labels.tolist(), *extra][place] for place in order]
        lists[f"{name}.csv"] = [_affectnet_image(config, name, at, entry) for at, entry in enumerate(entries)]
    return lists


def _affectnet_image(config: SyntheticConfig, split: str, at: int, label: int | None) -> Image:
    name = f"affectnet-{split}-{at:05d}"
    folder = 1 + at // 200 + (900 if split == "validation" else 0)
    path = f"{folder}/{digest([config.seed, name], 56)}.jpg"
    return Image(name=name, path=path, label=at % len(AFFECTNET) if label is None else label, boxless=label is None)


def rafdb_list(config: SyntheticConfig) -> list[Image]:
    """Images of ``list_patition_label.txt``, labels from 1."""
    images = []
    for split, count in (("train", config.rafdb), ("test", config.rafdb_test)):
        labels = _shares(generator(config.seed, "rafdb", split), count, RAFDB)
        images += [Image(name=f"rafdb-{split}-{at:05d}", path=f"{split}_{at:05d}", label=int(label) + 1) for at, label in enumerate(labels, 1)]
    return images


def _shares(rng: np.random.Generator, count: int, names: tuple[str, ...]) -> np.ndarray:
    """That many labels, every class among the first ones where there is room, in random order."""
    share = np.array([_SHARES.get(name, 1.0) for name in names])
    numbers = np.floor(count * share / share.sum()).astype(int)
    numbers[: count - numbers.sum()] += 1
    return rng.permutation(np.repeat(np.arange(len(names)), numbers))


def draw_affectnet(config: SyntheticConfig, folder: Path, images: list[Image]) -> list[str]:
    """Draw some images below the data set's folder (those that are there already are not written again) and return their list rows."""
    rows = []
    for image in images:
        rng = generator(config.seed, "affectnet-row", image.name)
        used = image.label < len(AFFECTNET)
        shown = AFFECTNET[image.label] if used else str(rng.choice(AFFECTNET))
        still = photograph(config, image.name, None if image.label == UNUSED[-1] else shown)
        _write(folder / "Manually_Annotated_Images" / image.path, still)
        x0, y0, x1, y1 = still.box + rng.normal(0, 0.012, 4) * (still.box[2] - still.box[0])
        box = (round(x0), round(y0), round(x1 - x0), round(y1 - y0))
        if image.boxless:
            box = (0, 0, -4, -4)
        valence, arousal = np.clip(np.array(_AFFECT[shown]) + rng.normal(0, 0.1, 2), -1, 1) if used else (-2, -2)
        marks = ";".join(f"{value:.2f}" for value in still.landmarks.ravel())
        rows.append(f"{image.path},{box[0]},{box[1]},{box[2]},{box[3]},{marks},{image.label},{valence:.6f},{arousal:.6f}")
    return rows


def draw_rafdb(config: SyntheticConfig, folder: Path, images: list[Image]) -> list[str]:
    """Draw some aligned images below the data set's folder and return their list rows."""
    for image in images:
        _write(folder / "basic/Image/aligned" / f"{image.path}_aligned.jpg", aligned(config, image.name, RAFDB[image.label - 1]))
    return [f"{image.path}.jpg {image.label}" for image in images]


def _write(path: Path, still: Still) -> None:
    if not path.exists():
        _, data = cv2.imencode(".jpg", cv2.cvtColor(still.picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        with placed(path) as partial:
            partial.write_bytes(data.tobytes())
