import numpy as np
import pytest
import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.training.config import LossConfig
from abaw_ray.training.losses import ClassLoss

LABELS = np.array([0] * 12 + [1] * 3 + [2] * 6 + [-1] * 5)


def slow_loss(logits, label, weight, shift, smoothing):
    shifted = logits + shift
    log_probability = shifted - np.log(np.exp(shifted).sum())
    target = np.full(len(logits), smoothing / len(logits))
    target[label] += 1 - smoothing
    return weight * -(target * log_probability).sum()


@pytest.mark.parametrize("class_balancing", ["weights", "logits", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_agrees_with_its_definition(class_balancing, smoothing):
    rng = np.random.default_rng(0)
    loss = ClassLoss(LossConfig(class_balancing=class_balancing, label_smoothing=smoothing), LABELS, 3)
    weight = {"weights": [1, 4, 2]}.get(class_balancing, [1, 1, 1])
    shift = np.log([12 / 21, 3 / 21, 6 / 21]) if class_balancing == "logits" else np.zeros(3)
    logits, labels = rng.normal(size=(9, 3)), rng.integers(0, 3, 9)
    slow = [slow_loss(row, label, weight[label], shift, smoothing) for row, label in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(loss(torch.tensor(logits), torch.tensor(labels)).numpy(), slow, rtol=1e-5)
    assert loss.weight_sum(labels) == sum(weight[label] for label in labels)


def test_the_weight_sum_is_computed_on_the_host_whatever_the_device_of_the_loss():
    loss = ClassLoss(LossConfig(), LABELS, 3)
    before = loss.weight_sum(np.array([0, 1, 2]))
    assert loss(torch.zeros(2, 3, device="meta"), torch.zeros(2, dtype=torch.int64, device="meta")).device.type == "meta"
    assert loss.weight_sum(np.array([0, 1, 2])) == before


def test_losses_of_ranks_divided_by_the_weight_sum_of_the_global_batch_add_up_to_its_mean():
    rng = np.random.default_rng(1)
    loss = ClassLoss(LossConfig(), LABELS, 3)
    logits, labels = torch.tensor(rng.normal(size=(8, 3))), torch.tensor([0, 0, 0, 0, 1, 1, 2, 1])
    whole = loss(logits, labels).sum() / loss.weight_sum(labels.numpy())
    ranks = [loss(logits[local], labels[local]).sum() * 2 / loss.weight_sum(labels.numpy()) for local in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(sum(ranks) / 2, whole)


@pytest.mark.parametrize("class_balancing", ["weights", "logits"])
def test_a_sample_of_weight_two_is_balanced_and_counted_like_two_samples(class_balancing):
    config, labels, weights = LossConfig(class_balancing=class_balancing), np.array([0, 0, 0, 1, 2, 2]), np.array([1.0, 1, 2, 2, 1, 1])
    weighted = ClassLoss(config, labels, 3, weights)
    repeated = ClassLoss(config, np.repeat(labels, weights.astype(int)), 3)
    torch.testing.assert_close(weighted.weights, repeated.weights)
    torch.testing.assert_close(weighted.logit_adjustment, repeated.logit_adjustment)
    assert weighted.weight_sum(labels, weights) == pytest.approx(repeated.weight_sum(np.repeat(labels, weights.astype(int))))


def test_a_class_without_samples_has_weight_zero_and_finite_logits():
    loss = ClassLoss(LossConfig(), np.array([0, 0, 2]), 4)
    assert loss.weights.tolist() == [1, 0, 2, 0]
    assert torch.isfinite(ClassLoss(LossConfig(class_balancing="logits"), np.array([0, 0, 2]), 4).logit_adjustment).all()


def test_balancing_power_zero_disables_class_balancing():
    for class_balancing in ("weights", "logits"):
        loss = ClassLoss(LossConfig(class_balancing=class_balancing, balancing_power=0.0), LABELS, 3)
        assert loss.weights.tolist() == [1, 1, 1]
        assert loss.logit_adjustment.tolist() == [0, 0, 0]


def test_label_smoothing_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="label_smoothing"):
        LossConfig(label_smoothing=1.0)
