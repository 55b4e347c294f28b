"""Lists and files of the synthetic still images, in the layouts of AffectNet (the original one, with lists) and of RAF-DB (aligned).

The lists are computed before any image is rendered, so any number of workers can render the images in any order. Every image shows a different
identity.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from abaw_ray.core.expressions import AFFECTNET, RAFDB
from abaw_ray.core.settings import digest
from abaw_ray.data.synthetic.config import SyntheticConfig, generator
from abaw_ray.data.synthetic.files import atomic_path
from abaw_ray.data.synthetic.scene.stills import Still, render_aligned, render_photo

COLUMNS = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
"""Header of AffectNet's lists."""
UNUSED: tuple[int, ...] = (8, 9, 10)
"""AffectNet's ids None, Uncertain and Non-Face."""
_CLASS_SHARES: dict[str, float] = {"Neutral": 1.3, "Happiness": 1.3, "Contempt": 0.8}
"""Relative frequency of expressions, 1 where not named: moderately imbalanced."""
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
"""Approximate valence and arousal of each expression."""
_QUALITY = 92
"""JPEG quality."""


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """One image of a list."""

    name: str
    """Seeds the image's identity and random numbers."""
    path: str
    """Below the data set's root."""
    label: int
    """Class id in the data set's own numbering."""
    without_box: bool = False
    """Whether AffectNet's detector found no face: the list has a negative width."""


def affectnet_lists(config: SyntheticConfig) -> dict[str, list[ListedImage]]:
    """Images of training.csv and validation.csv; the configured number, and about 5% more that a reader excludes."""
    lists = {}
    for name, count in (("training", config.affectnet_train_images), ("validation", config.affectnet_val_images)):
        rng = generator(config.seed, "affectnet", name)
        labels = _sample_labels(rng, count, AFFECTNET)
        extra = [*UNUSED, *([None] * 2)] * max(1, count // 100)
        order = rng.permutation(len(labels) + len(extra))
        entries = [[*labels.tolist(), *extra][position] for position in order]
        lists[f"{name}.csv"] = [_affectnet_image(config, name, index, entry) for index, entry in enumerate(entries)]
    return lists


def _affectnet_image(config: SyntheticConfig, split: str, index: int, label: int | None) -> ListedImage:
    name = f"affectnet-{split}-{index:05d}"
    folder = 1 + index // 200 + (900 if split == "validation" else 0)
    path = f"{folder}/{digest([config.seed, name], 56)}.jpg"
    return ListedImage(name=name, path=path, label=index % len(AFFECTNET) if label is None else label, without_box=label is None)


def rafdb_list(config: SyntheticConfig) -> list[ListedImage]:
    """Images of ``list_patition_label.txt``, labels from 1."""
    images = []
    for split, count in (("train", config.rafdb_train_images), ("test", config.rafdb_test_images)):
        labels = _sample_labels(generator(config.seed, "rafdb", split), count, RAFDB)
        images += [
            ListedImage(name=f"rafdb-{split}-{number:05d}", path=f"{split}_{number:05d}", label=int(label) + 1)
            for number, label in enumerate(labels, 1)
        ]
    return images


def _sample_labels(rng: np.random.Generator, count: int, names: tuple[str, ...]) -> np.ndarray:
    """``count`` labels in random order, with the class shares; every class occurs if ``count`` allows it."""
    shares = np.array([_CLASS_SHARES.get(name, 1.0) for name in names])
    counts = np.floor(count * shares / shares.sum()).astype(int)
    counts[: count - counts.sum()] += 1
    return rng.permutation(np.repeat(np.arange(len(names)), counts))


def write_affectnet(config: SyntheticConfig, folder: Path, images: list[ListedImage]) -> list[str]:
    """Render images into the data set's folder (existing files are kept) and return their list rows."""
    rows = []
    for image in images:
        rng = generator(config.seed, "affectnet-row", image.name)
        has_expression = image.label < len(AFFECTNET)
        expression = AFFECTNET[image.label] if has_expression else str(rng.choice(AFFECTNET))
        still = render_photo(config, image.name, None if image.label == UNUSED[-1] else expression)
        _write(folder / "Manually_Annotated_Images" / image.path, still)
        x0, y0, x1, y1 = still.box + rng.normal(0, 0.012, 4) * (still.box[2] - still.box[0])
        box = (round(x0), round(y0), round(x1 - x0), round(y1 - y0))
        if image.without_box:
            box = (0, 0, -4, -4)
        valence, arousal = np.clip(np.array(_AFFECT[expression]) + rng.normal(0, 0.1, 2), -1, 1) if has_expression else (-2, -2)
        landmarks = ";".join(f"{value:.2f}" for value in still.landmarks.ravel())
        rows.append(f"{image.path},{box[0]},{box[1]},{box[2]},{box[3]},{landmarks},{image.label},{valence:.6f},{arousal:.6f}")
    return rows


def write_rafdb(config: SyntheticConfig, folder: Path, images: list[ListedImage]) -> list[str]:
    """Render aligned images into the data set's folder and return their list rows."""
    for image in images:
        _write(folder / "basic/Image/aligned" / f"{image.path}_aligned.jpg", render_aligned(config, image.name, RAFDB[image.label - 1]))
    return [f"{image.path}.jpg {image.label}" for image in images]


def _write(path: Path, still: Still) -> None:
    if not path.exists():
        _, data = cv2.imencode(".jpg", cv2.cvtColor(still.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        with atomic_path(path) as partial:
            partial.write_bytes(data.tobytes())
