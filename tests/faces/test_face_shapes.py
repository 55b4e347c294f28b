"""The shapes in the signatures of ``abaw_ray.faces`` are checked while tests run (``install_import_hook`` in ``tests/conftest.py``)."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from abaw_ray.faces.boxes import iou, nms
from abaw_ray.faces.chips import crop_chip, crop_scale
from abaw_ray.faces.config import ChipConfig
from abaw_ray.faces.detection.detect import Face

BOX = np.array([10.0, 10, 30, 40])
IMAGE = np.zeros((60, 80, 3), np.uint8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: iou(np.zeros((2, 5)), np.zeros((1, 4))),
        lambda: nms(np.zeros((3, 4)), np.zeros(2), iou_threshold=0.5),
        lambda: crop_chip(IMAGE[..., 0], BOX, ChipConfig()),
        lambda: crop_chip(IMAGE.astype(np.float32), BOX, ChipConfig()),
        lambda: crop_chip(IMAGE, BOX[:3], ChipConfig()),
        lambda: crop_scale(IMAGE, 1.0, ChipConfig()),
        lambda: Face(BOX, 0.9, np.zeros((2, 5))),
    ],
    ids=[
        "box of 5 numbers",
        "scores of other boxes",
        "image without channels",
        "image of floats",
        "box of 3 numbers",
        "chip not square",
        "landmarks",
    ],
)
def test_an_array_of_the_wrong_shape_or_type_is_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def test_arrays_of_the_right_shape_are_accepted():
    assert iou(BOX[None], BOX[None]).shape == (1, 1)
    assert crop_scale(crop_chip(IMAGE, BOX, ChipConfig()).image, 1.0, ChipConfig()).shape == (224, 224, 3)
    assert Face(BOX, 0.9, np.zeros((5, 2))).source == "detected"
