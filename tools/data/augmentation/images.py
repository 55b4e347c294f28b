"""Synthetic still images as training images and as examples: as they are, cut off near the face, and blurred along a line."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from abaw_ray.core.expressions import ENCODER_CLASSES
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.still_images.affectnet import read_affectnet
from abaw_ray.data.stills import StillImage
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.files import atomic_path
from abaw_ray.data.synthetic.still_lists import COLUMNS, affectnet_lists, write_affectnet
from abaw_ray.encoder.augmentation.view import center_crop
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.images import ImageSet, open_image_set
from abaw_ray.encoder.ingest import IngestImages
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.square_crop import crop_square
from tools.data.augmentation.examples import Examples

Photo = UInt8[np.ndarray, "h w 3"]
Box = Float[np.ndarray, "4"]


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


KINDS: dict[str, Callable[[Photo, Box, np.random.Generator], tuple[Photo, Box]]] = {
    "images": lambda photo, box, rng: (photo, box),
    "images cut off near the face": cut_off,
    "images blurred along a line": blur,
}
"""Kinds of examples."""


def write_images(folder: Path, config: SyntheticConfig, encoder: EncoderConfig) -> tuple[list[StillImage], ImageSet]:
    """Synthetic images in AffectNet's layout, and those of them that are stored for training and validation."""
    (folder / "Manually_Annotated_Images").mkdir()
    for name, images in affectnet_lists(config).items():
        rows = write_affectnet(config, folder, images)
        with atomic_path(folder / name) as partial:
            partial.write_text("\n".join([COLUMNS, *rows]) + "\n")
    stills, storage = read_affectnet(folder), Storage(StorageConfig(uri=str(folder / "stored")))
    storage.write_table("images.parquet", IngestImages(encoder.ingest, None)(stills).table)
    return stills, open_image_set(storage, ["images.parquet"], folder)


def image_examples(stills: Sequence[StillImage], kind: str, chips: ChipConfig, seed: int) -> Examples:
    """The crops that chips have, at all of their scales."""
    views = []
    for number, still in enumerate(stills):
        photo = np.asarray(cv2.imread(still.path, cv2.IMREAD_COLOR_RGB))
        photo, box = KINDS[kind](photo, np.array(still.box, dtype=np.float64), np.random.default_rng([seed, number]))
        crops = (crop_square(np.ascontiguousarray(photo), box, scale, 10_000).image for scale in chips.scales)
        views.append(np.stack([center_crop(crop, size=chips.size, stored_scale=1.0, scale=1.0).transpose(2, 0, 1) for crop in crops]))
    return Examples(
        views=np.stack(views),
        labels=np.array([ENCODER_CLASSES.index(still.expression) for still in stills]),
        groups=np.arange(len(stills)),
    )
