"""Compares augmentations of Stage I on synthetic faces near the border of the picture and on faces blurred by motion, over several seeds.

python -m tools.data.compare_augmentation --seeds 0 1 2          (about three quarters of an hour on one core)
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import tyro
from jaxtyping import Float, Int, UInt8
from rich.table import Table

from abaw_ray.cluster.launch.presets import DEMO
from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.core.progress import console, echo
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.still_images.affectnet import read_affectnet
from abaw_ray.data.stills import StillImage
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.files import atomic_path
from abaw_ray.data.synthetic.still_lists import COLUMNS, affectnet_lists, write_affectnet
from abaw_ray.encoder.augmentation.config import NO_DEGRADATION, AugmentConfig, DegradeConfig, PadAugConfig
from abaw_ray.encoder.augmentation.view import center_crop
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet, open_image_set
from abaw_ray.encoder.ingest import IngestImages
from abaw_ray.encoder.search.trial import EncoderTrial
from abaw_ray.media.square_crop import crop_square
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1

Photo = UInt8[np.ndarray, "h w 3"]
Box = Float[np.ndarray, "4"]
Predictions = dict[tuple[str, str], list[Int[np.ndarray, " images"]]]
"""Augmentation and test images -> predicted classes of each seed."""

_NO_PADDING = PadAugConfig(probability=0.0)
AUGMENTATIONS: dict[str, tuple[DegradeConfig, PadAugConfig]] = {
    "neither": (NO_DEGRADATION, _NO_PADDING),
    "PadAug": (NO_DEGRADATION, PadAugConfig()),
    "degradation": (DegradeConfig(), _NO_PADDING),
    "both": (DegradeConfig(), PadAugConfig()),
}
_SAMPLES = 1000


def cut_off(photo: Photo, box: Box, rng: np.random.Generator) -> tuple[Photo, Box]:
    """The photo without what lies beyond a line near the face: its crops are black there, as at the border of a video's frame.

    The line is 0.3 to 0.65 of the longer side of the box away from its center, so it may cut off up to a fifth of the face.
    """
    center, distance = (box[:2] + box[2:]) / 2, rng.uniform(0.3, 0.65) * max(box[2:] - box[:2])
    axis, first = int(rng.integers(2)), bool(rng.integers(2))
    line = round(float(center[axis] - distance if first else center[axis] + distance))
    limit = photo.shape[1 - axis]
    low, high = (min(max(line, 0), limit - 1), limit) if first else (0, max(min(line, limit), 1))
    moved = box.copy()
    moved[axis::2] -= low
    return (photo[:, low:high] if axis == 0 else photo[low:high]), moved


def blur(photo: Photo, box: Box, rng: np.random.Generator) -> tuple[Photo, Box]:
    """The mean of the photo over a motion of 0.1 to 0.25 of the longer side of the box, in sub-pixel steps."""
    length, angle = rng.uniform(0.1, 0.25) * max(box[2:] - box[:2]), rng.uniform(0, np.pi)
    total = np.zeros(photo.shape, np.float64)
    for step in np.linspace(-0.5, 0.5, 17):
        shift = np.array([[1, 0, step * length * np.cos(angle)], [0, 1, step * length * np.sin(angle)]])
        total += cv2.warpAffine(photo, shift, photo.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.rint(total / 17).astype(np.uint8), box


TESTS: dict[str, Callable[[Photo, Box, np.random.Generator], tuple[Photo, Box]]] = {
    "plain": lambda photo, box, rng: (photo, box),
    "border": cut_off,
    "blurred": blur,
}


def main(seeds: tuple[int, ...] = (0, 1, 2), images: int = 6000, test_images: int = 960, epochs: int = 10, out: Path | None = None) -> None:
    """Train the demo's encoder with each augmentation and each seed, and print macro-F1 with paired intervals.

    Args:
        seeds: Seeds of faces, initial weights and augmentation.
        images: Training images of a seed.
        test_images: Test images of a seed; each is scored plain, cut off and blurred.
        epochs: Passes over the training images.
        out: JSON file of all figures.
    """
    torch.set_num_threads(1)  # the model is so small that a second thread costs more than it saves
    predictions: Predictions = {(name, test): [] for name in AUGMENTATIONS for test in TESTS}
    labels = []
    for seed in seeds:
        config = SyntheticConfig(seed=seed, affectnet_train_images=images, affectnet_val_images=test_images)
        with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
            stills, stored = _synthetic_images(Path(folder), config)
            tests = [still for still in stills if still.split == "val"]
            labels.append(np.array([ENCODER_CLASSES.index(still.expression) for still in tests]))
            pixels = {name: _test_pixels(tests, name, seed) for name in TESTS}
            for name in AUGMENTATIONS:
                model = _train(name, replace(DEMO.encoder, seed=seed, epochs=epochs), stored)
                for test, views in pixels.items():
                    predictions[name, test].append(_predict(model, views))
                    echo(f"seed {seed}, {name}, {test}: {_score(labels[-1], predictions[name, test][-1]):.3f}")
    figures = compare(predictions, labels)
    console.print(_table(figures))
    if out:
        out.write_text(json.dumps({"seeds": seeds, "images": images, "test_images": test_images, "epochs": epochs, "scores": figures}, indent=1))
        echo(str(out))


def compare(predictions: Predictions, labels: Sequence[Int[np.ndarray, " images"]]) -> list[dict]:
    """Macro-F1 of each augmentation on each kind of test images, by seed, and the mean difference from no augmentation with its 95 % interval.

    The interval is from 1,000 bootstraps over the test images of every seed, the same ones for both encoders.
    """
    rng, rows = np.random.default_rng(0), []
    samples = [[rng.integers(0, len(one), len(one)) for one in labels] for _ in range(_SAMPLES)]
    for (name, test), predicted in predictions.items():
        base = predictions["neither", test]
        row = {"augmentation": name, "test": test, "scores": [_score(*pair) for pair in zip(labels, predicted, strict=True)]}
        if name != "neither":
            differences = [_difference(labels, predicted, base, sample) for sample in samples]
            everything = [np.arange(len(one)) for one in labels]
            row["difference"] = _difference(labels, predicted, base, everything)
            row["interval"] = [float(value) for value in np.quantile(differences, (0.025, 0.975))]
        rows.append(row)
    return rows


def _difference(labels: Sequence[np.ndarray], predicted: Sequence[np.ndarray], base: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> float:
    of_seeds = zip(labels, predicted, base, rows, strict=True)
    return float(np.mean([_score(label[at], one[at]) - _score(label[at], other[at]) for label, one, other, at in of_seeds]))


def _score(labels: Int[np.ndarray, " images"], predicted: Int[np.ndarray, " images"]) -> float:
    return float(macro_f1(confusion_matrix(labels, predicted)))


def _synthetic_images(folder: Path, config: SyntheticConfig) -> tuple[list[StillImage], ImageSet]:
    """Drawn images in AffectNet's layout, and those of them that are stored for training and validation."""
    (folder / "Manually_Annotated_Images").mkdir()
    for name, images in affectnet_lists(config).items():
        rows = write_affectnet(config, folder, images)
        with atomic_path(folder / name) as partial:
            partial.write_text("\n".join([COLUMNS, *rows]) + "\n")
    stills, storage = read_affectnet(folder), Storage(StorageConfig(uri=str(folder / "stored")))
    storage.write_table("images.parquet", IngestImages(DEMO.encoder.ingest, None)(stills).table)
    return stills, open_image_set(storage, ["images.parquet"], folder)


def _test_pixels(stills: Sequence[StillImage], test: str, seed: int) -> UInt8[np.ndarray, "images scales 3 size size"]:
    """The crops that the demo's chips have, at all of their scales."""
    views, size = [], DEMO.faces.chips.size
    for number, still in enumerate(stills):
        photo = np.asarray(cv2.imread(still.path, cv2.IMREAD_COLOR_RGB))
        photo, box = TESTS[test](photo, np.array(still.box, dtype=np.float64), np.random.default_rng([seed, number]))
        crops = (crop_square(np.ascontiguousarray(photo), box, scale, 10_000).image for scale in DEMO.faces.chips.scales)
        views.append(np.stack([center_crop(crop, size=size, stored_scale=1.0, scale=1.0).transpose(2, 0, 1) for crop in crops]))
    return np.stack(views)


def _train(name: str, config: EncoderConfig, images: ImageSet) -> torch.nn.Module:
    degradation, padding = AUGMENTATIONS[name]
    augment: AugmentConfig = replace(config.augment, degrade=degradation, padaug=padding)
    trial = EncoderTrial(replace(config, augment=augment), images, images.rows("train"))
    for _ in trial.epochs():
        pass
    return trial.model.eval()


@torch.inference_mode()
def _predict(model: torch.nn.Module, views: UInt8[np.ndarray, "images scales 3 size size"]) -> Int[np.ndarray, " images"]:
    """The class with the highest probability, averaged over the scales."""
    scores = [model(torch.from_numpy(np.ascontiguousarray(views[:, scale]))).logits.softmax(dim=1) for scale in range(views.shape[1])]
    return torch.stack(scores).mean(dim=0).argmax(dim=1).numpy()


def _table(figures: list[dict]) -> Table:
    table = Table("test images", "augmentation", "macro-F1 by seed", "difference from neither", "95 % interval")
    for row in sorted(figures, key=lambda row: list(TESTS).index(row["test"])):
        scores = " ".join(f"{score:.3f}" for score in row["scores"])
        difference = f"{row['difference']:+.3f}" if "difference" in row else ""
        interval = "{:+.3f} to {:+.3f}".format(*row["interval"]) if "interval" in row else ""
        table.add_row(row["test"], row["augmentation"], scores, difference, interval)
    return table


if __name__ == "__main__":
    tyro.cli(main)
