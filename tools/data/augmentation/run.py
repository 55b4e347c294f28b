"""Trains the demo's encoder with each augmentation and several seeds, and scores it on each kind of examples, with paired intervals."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from rich.table import Table
from torch.nn import Module

from abaw_ray.cluster.launch.presets import DEMO
from abaw_ray.core.progress import console, echo
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.encoder.augmentation.config import NO_DEGRADATION, AugmentConfig, DegradeConfig, PadAugConfig
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet
from abaw_ray.encoder.search.trial import EncoderTrial
from abaw_ray.faces.crop import CropFaces
from tools.bench.table import command_line, metadata, rounded
from tools.data.augmentation.examples import Examples, difference, score
from tools.data.augmentation.images import KINDS as IMAGES
from tools.data.augmentation.images import image_examples, write_images
from tools.data.augmentation.videos import KINDS as VIDEOS
from tools.data.augmentation.videos import video_examples

ByKind = dict[tuple[str, str], list[Int64[np.ndarray, "groups 8 8"]]]
"""Augmentation and kind of examples -> confusion matrices of each seed."""

_NO_PADDING = PadAugConfig(probability=0.0)
AUGMENTATIONS: dict[str, tuple[DegradeConfig, PadAugConfig]] = {
    "neither": (NO_DEGRADATION, _NO_PADDING),
    "PadAug": (NO_DEGRADATION, PadAugConfig()),
    "degradation": (DegradeConfig(), _NO_PADDING),
    "both": (DegradeConfig(), PadAugConfig()),
}


def main(
    seeds: tuple[int, ...] = (0, 1, 2), images: int = 6000, test_images: int = 960, test_videos: int = 60, epochs: int = 10, out: Path | None = None
) -> None:
    """Print macro-F1 of each augmentation on each kind of examples, with paired intervals (about an hour on one core).

    Args:
        seeds: Seeds of faces, initial weights and augmentation.
        images: Training images of a seed.
        test_images: Test images of a seed; each is scored as it is, cut off and blurred.
        test_videos: Test videos of a seed, of about 6 s; each is scored with a short and with a long exposure.
        epochs: Passes over the training images.
        out: JSON file of all figures.
    """
    torch.set_num_threads(1)  # the model is so small that a second thread costs more than it saves
    sizes = {"images": images, "test_images": test_images, "test_videos": test_videos, "epochs": epochs}
    matrices, classes, facts = ByKind(), dict[str, int](), list[dict]()
    for seed in seeds:
        config = SyntheticConfig(
            seed=seed, affectnet_train_images=images, affectnet_val_images=test_images, val_subjects=test_videos + 1, video_duration_s=6.0
        )
        with tempfile.TemporaryDirectory(prefix="abaw-") as folder:
            models, examples, about = _of_seed(config, epochs, Path(folder))
        facts.append({"seed": seed, "faces": {kind: len(each.labels) for kind, each in examples.items()}, "videos": about})
        for (name, model), (kind, each) in product(models.items(), examples.items()):
            classes[kind] = each.classes
            matrices.setdefault((name, kind), []).append(each.predict(model))
            echo(f"seed {seed}, {name}, {kind}: {score(matrices[name, kind][-1], each.classes):.3f}")
    figures = compare(matrices, classes)
    console.print(_table(figures))
    if out:
        command = command_line("tools.data.augmentation", seeds=seeds, **sizes)
        run = metadata("torch", "timm") | {"command": command, "seeds": seeds, **sizes, "data": facts}
        out.write_text(json.dumps(rounded(run | {"scores": figures}), indent=1) + "\n")
        echo(str(out))


def compare(matrices: ByKind, classes: Mapping[str, int]) -> list[dict]:
    """Macro-F1 of each augmentation on each kind of examples, by seed, and the mean difference from no augmentation with its 95 % interval.

    The interval is from 1,000 bootstraps over the images, or the people of the videos, the same ones for both encoders.
    """
    rows = []
    for (name, kind), of_seeds in matrices.items():
        row = {"augmentation": name, "examples": kind, "scores": [score(one, classes[kind]) for one in of_seeds]}
        if name != "neither":
            row["difference"], row["interval"] = difference(of_seeds, matrices["neither", kind], classes[kind])
        rows.append(row)
    return rows


def _of_seed(config: SyntheticConfig, epochs: int, folder: Path) -> tuple[dict[str, Module], dict[str, Examples], dict[str, Any]]:
    """The trained models by augmentation, the examples by kind, and figures about the videos."""
    stills, stored = write_images(folder, config, DEMO.encoder)
    encoder, test = replace(DEMO.encoder, seed=config.seed, epochs=epochs), [still for still in stills if still.split == "val"]
    models = {name: _train(name, encoder, stored) for name in AUGMENTATIONS}
    examples = {kind: image_examples(test, kind, DEMO.faces.chips, config.seed) for kind in IMAGES}
    of_videos, about = video_examples(config, CropFaces(DEMO.faces), folder)
    return models, examples | of_videos, about


def _train(name: str, config: EncoderConfig, images: ImageSet) -> Module:
    degradation, padding = AUGMENTATIONS[name]
    augment: AugmentConfig = replace(config.augment, degrade=degradation, padaug=padding)
    trial = EncoderTrial(replace(config, augment=augment), images, images.rows("train"))
    for _ in trial.epochs():
        pass
    return trial.model.eval()


def _table(figures: list[dict]) -> Table:
    table = Table("examples", "augmentation", "macro-F1 by seed", "mean", "difference from neither", "95 % interval")
    for row in sorted(figures, key=lambda row: [*IMAGES, *VIDEOS].index(row["examples"])):
        scores = " ".join(f"{score:.3f}" for score in row["scores"])
        shown = (f"{row['difference']:+.3f}", "{:+.3f} to {:+.3f}".format(*row["interval"])) if "interval" in row else ("", "")
        table.add_row(row["examples"], row["augmentation"], scores, f"{np.mean(row['scores']):.3f}", *shown)
    return table
