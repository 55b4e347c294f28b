import numpy as np
import pytest
import torch
from torch import nn

from abaw_ray.core.errors import ConfigError
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.config import OptimConfig
from abaw_ray.training.optim import lr_multiplier, parameter_groups, set_learning_rates


def three_layers():
    return nn.ModuleDict({"0": nn.Linear(3, 4), "1": nn.Linear(4, 4), "2": nn.LayerNorm(4)})


def groups_of(model, config, **more):
    return parameter_groups(model.named_parameters(), config, layer_of=lambda name: int(name[0]), layers=3, **more)


def test_the_learning_rate_has_linear_warmup_and_cosine_decay_to_its_minimum():
    config = OptimConfig(warmup_ratio=0.1, min_lr_ratio=0.05)
    rates = np.array([lr_multiplier(step, 200, config) for step in range(200)])
    np.testing.assert_allclose(rates[:20], np.arange(1, 21) / 20)
    angle = np.linspace(0, np.pi, 180)
    np.testing.assert_allclose(rates[20:], 0.05 + 0.95 * (1 + np.cos(angle)) / 2)
    assert rates[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_the_lr_multiplier_stays_between_zero_and_one_in_the_shortest_runs(steps, warmup):
    rates = [lr_multiplier(step, steps, OptimConfig(warmup_ratio=warmup)) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_the_learning_rate_decays_by_layer_and_only_matrices_have_weight_decay():
    config = OptimConfig(lr=1.0, layer_decay=0.5, weight_decay=0.1)
    model = three_layers()
    group_settings = {
        id(parameter): (scale * group["peak_lr"], group["weight_decay"])
        for group in groups_of(model, config)
        for parameter, scale in zip(group["params"], group["lr_scales"], strict=True)
    }
    wanted = {"0.weight": (0.25, 0.1), "0.bias": (0.25, 0), "1.weight": (0.5, 0.1), "1.bias": (0.5, 0), "2.weight": (1, 0), "2.bias": (1, 0)}
    assert {name: group_settings[id(parameter)] for name, parameter in model.named_parameters()} == wanted


def test_every_trainable_parameter_is_in_one_group_and_frozen_ones_in_none():
    model = three_layers()
    model["0"].weight.requires_grad_(False)
    groups = groups_of(model, OptimConfig(), no_decay=lambda name, _: name == "1.weight")
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)
    assert all(group["weight_decay"] == 0 for group in groups)


def test_there_are_at_most_two_groups_whose_parameters_are_in_the_order_of_their_layers():
    model = three_layers()
    reversed_names = list(model.named_parameters())[::-1]
    groups = parameter_groups(reversed_names, OptimConfig(layer_decay=0.5), layer_of=lambda name: int(name[0]), layers=3)
    assert [group["lr_scales"] for group in groups] == [[0.25, 0.5], [0.25, 0.5, 1.0, 1.0]]
    vectors = parameter_groups([("2.bias", model["2"].bias)], OptimConfig(), layer_of=lambda name: 2, layers=3)
    assert [group["weight_decay"] for group in vectors] == [0.0]


def test_the_fused_optimizer_agrees_with_the_definition_of_adamw():
    config = OptimConfig(lr=0.1, layer_decay=1.0, weight_decay=0.2, betas=(0.9, 0.99))
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = SlicedAdamW(parameter_groups([("w", weight)], config, layer_of=lambda _: 0, layers=1), config)
    gradient = torch.tensor([[0.3, -0.1]], dtype=torch.float64)
    value, mean, square = weight.detach().clone(), torch.zeros(1, 2).double(), torch.zeros(1, 2).double()
    for step in (1, 2, 3):
        multiplier = lr_multiplier(step - 1, 3, config)
        set_learning_rates(optimizer.param_groups, multiplier)
        weight.grad = gradient.clone() * step
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * gradient * step, 0.99 * square + 0.01 * (gradient * step) ** 2
        value = value * (1 - 0.1 * multiplier * 0.2)
        value = value - 0.1 * multiplier * (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-8)
    torch.testing.assert_close(weight.detach(), value)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"layer_decay": 0.0}, {"layer_decay": 1.1}, {"warmup_ratio": 2.0}, {"max_grad_norm": -1.0}])
def test_settings_that_cannot_train_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        OptimConfig(**change)
