"""``FACE`` rows of an annotated subject -> ``ANNOTATED_IMAGE`` rows: chips of labelled frames as training images, as they are stored."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64, Int8

from abaw_ray.core import schema
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.annotations import align_labels
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.encoder.folds.sampling import spread_frames
from abaw_ray.faces.boxes import longer_side
from abaw_ray.faces.config import ChipConfig
from abaw_ray.media.square_crop import square_around

SOURCE = "affwild2"
"""Data set of these images in the column ``source``."""


class AnnotatedChips:
    """Selects the frames of one subject, and makes images of their rows."""

    def __init__(self, config: FoldEncodersConfig, chips: ChipConfig, classes: Sequence[str]) -> None:
        """Build for the chips of one stage.

        Args:
            config: Time between two images.
            chips: The settings with which the chips were cropped.
            classes: Names of the encoder's classes.
        """
        self.config, self.scale = config, chips.scales[-1]
        self.labels = {name: number for number, name in enumerate(classes)}

    def select(self, rows: pa.Table, labels: Int8[np.ndarray, " rows"], quotas: Mapping[str, int]) -> Bool[np.ndarray, " frames"]:
        """Which rows of the subject become images.

        Args:
            rows: ``frame``, ``time`` and ``chip_scale`` of all its frames, in order; ``chip_scale`` is null where there is no chip.
            labels: Its annotation.
            quotas: Largest number of images by expression.

        Raises:
            DataError: annotation and video do not belong together.
        """
        labelled = align_labels(labels, len(rows), "annotation")
        times, has_chip = rows["time"].to_numpy(), rows["chip_scale"].is_valid().to_numpy()
        selected = np.zeros(len(rows), dtype=bool)
        for name, quota in quotas.items():
            candidates = np.flatnonzero(has_chip & (labelled == EXPRESSIONS.index(name)))
            selected[candidates[spread_frames(times[candidates], self.config.interval_s, quota)]] = True
        return selected

    def images(self, faces: pa.Table, labels: Int8[np.ndarray, " rows"]) -> pa.Table:
        """``ANNOTATED_IMAGE`` rows of these FACE rows, which ``select`` has chosen.

        Args:
            faces: Complete rows of one subject.
            labels: Its annotation.
        """
        rows = [self._image(face, EXPRESSIONS[labels[face["frame"] - 1]]) for face in faces.to_pylist()]
        return pa.Table.from_pylist(rows, schema=schema.ANNOTATED_IMAGE)

    def _image(self, face: dict, expression: str) -> dict:
        box = np.array(face["box"], dtype=np.float64)
        left, top, side = square_around(box, self.scale)  # as the chip was cropped
        return {
            "image": f"{face['track']}/{face['frame']:05d}",
            "jpeg": face["chip"],
            "label": self.labels[expression],
            "source": SOURCE,
            "split": "train",
            "scale": side / float(longer_side(box)),
            "box": _in_chip(box, left, top, face["chip_scale"]).tolist(),
            "landmarks": None if face["landmarks"] is None else _in_chip(np.array(face["landmarks"]), left, top, face["chip_scale"]).tolist(),
            "inside": face["inside"],
            "no_face": None,
            "subject": face["track"],
        }


def _in_chip(points: Float64[np.ndarray, " values"], left: int, top: int, chip_scale: float) -> Float64[np.ndarray, " values"]:
    """X and y in turn, from pixels of the frame to pixels of the chip."""
    return ((points.reshape(-1, 2) - np.array([left, top])) * chip_scale).ravel()
