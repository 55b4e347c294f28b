"""Arrays of wrong shape or type are refused by the checks of annotated shapes."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from abaw_ray.encoder.augmentation.config import DegradeConfig
from abaw_ray.encoder.augmentation.degrade import degrade
from abaw_ray.encoder.augmentation.view import center_crop
from abaw_ray.encoder.config import MoeConfig
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.moe import MoeHead


@pytest.mark.parametrize("image", [np.zeros((40, 41, 3), np.uint8), np.zeros((40, 40, 4), np.uint8), np.zeros((40, 40, 3), np.float32)])
def test_images_that_are_not_square_uint8_rgb_are_refused(image):
    for call in (lambda: center_crop(image, size=20, stored_scale=2.0, scale=1.0), lambda: degrade(image, np.random.default_rng(0), DegradeConfig())):
        with pytest.raises(TypeCheckError):
            call()


def test_the_head_refuses_features_with_another_dimension():
    with pytest.raises(TypeCheckError):
        MoeHead(6, 3, MoeConfig(hidden_dim=5))(torch.zeros(2, 4, 6))


def test_the_model_refuses_pixels_with_channels_last(config):
    with pytest.raises(TypeCheckError):
        ExpressionModel(config)(torch.zeros(2, 28, 28, 3, dtype=torch.uint8))
