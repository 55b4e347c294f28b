import numpy as np
import pytest
import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.training.losses import ClassLoss, LossConfig

LABELS = np.array([0] * 12 + [1] * 3 + [2] * 6 + [-1] * 5)


def slow_loss(logits, label, weight, shift, smoothing):
    shifted = logits + shift
    log_probability = shifted - np.log(np.exp(shifted).sum())
    target = np.full(len(logits), smoothing / len(logits))
    target[label] += 1 - smoothing
    return weight * -(target * log_probability).sum()


@pytest.mark.parametrize("balance", ["weights", "logits", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_agrees_with_its_definition(balance, smoothing):
    rng = np.random.default_rng(0)
    loss = ClassLoss(LossConfig(balance=balance, smoothing=smoothing), LABELS, 3)
    weight = {"weights": [1, 4, 2]}.get(balance, [1, 1, 1])
    shift = np.log([12 / 21, 3 / 21, 6 / 21]) if balance == "logits" else np.zeros(3)
    logits, labels = rng.normal(size=(9, 3)), rng.integers(0, 3, 9)
    slow = [slow_loss(row, label, weight[label], shift, smoothing) for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(loss(torch.tensor(logits), torch.tensor(labels)).numpy(), slow, rtol=1e-5)
    assert loss.weight(labels) == sum(weight[label] for label in labels)


def test_weights_of_labels_are_known_on_the_host_wherever_the_loss_is_computed():
    loss = ClassLoss(LossConfig(), LABELS, 3)
    before = loss.weight(np.array([0, 1, 2]))
    assert loss(torch.zeros(2, 3, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")).device.type == "meta"
    assert loss.weight(np.array([0, 1, 2])) == before


def test_ranks_that_divide_by_the_weight_of_the_joined_batch_add_up_to_its_mean():
    rng = np.random.default_rng(1)
    loss = ClassLoss(LossConfig(), LABELS, 3)
    logits, labels = torch.tensor(rng.normal(size=(8, 3))), torch.tensor([0, 0, 0, 0, 1, 1, 2, 1])
    whole = loss(logits, labels).sum() / loss.weight(labels.numpy())
    ranks = [loss(logits[part], labels[part]).sum() * 2 / loss.weight(labels.numpy()) for part in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(sum(ranks) / 2, whole)


def test_a_class_without_samples_weighs_nothing_and_breaks_nothing():
    loss = ClassLoss(LossConfig(), np.array([0, 0, 2]), 4)
    assert loss.weights.tolist() == [1, 0, 2, 0]
    assert torch.isfinite(ClassLoss(LossConfig(balance="logits"), np.array([0, 0, 2]), 4).shift).all()


def test_strength_zero_is_no_balance_at_all():
    for balance in ("weights", "logits"):
        loss = ClassLoss(LossConfig(balance=balance, strength=0.0), LABELS, 3)
        assert loss.weights.tolist() == [1, 1, 1]
        assert loss.shift.tolist() == [0, 0, 0]


def test_smoothing_outside_of_its_range_is_refused():
    with pytest.raises(ConfigError, match="smoothing"):
        LossConfig(smoothing=1.0)
