"""Arrays of wrong shape or type are refused by the checks of annotated shapes."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from abaw_ray.training.config import LossConfig
from abaw_ray.training.losses import ClassLoss


def test_the_loss_refuses_logits_and_labels_of_different_length():
    loss = ClassLoss(LossConfig(), np.array([0, 1, 2]), 3)
    with pytest.raises(TypeCheckError):
        loss(torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64))


def test_the_loss_refuses_labels_that_are_no_integers():
    with pytest.raises(TypeCheckError):
        ClassLoss(LossConfig(), np.array([0.0, 1.0]), 2)
