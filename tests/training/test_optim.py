import numpy as np
import pytest
import torch
from torch import nn

from abaw_ray.core.errors import ConfigError
from abaw_ray.training.optim import OptimConfig, make_adamw, parameter_groups, rate_share, set_rates


def layered():
    return nn.ModuleDict({"0": nn.Linear(3, 4), "1": nn.Linear(4, 4), "2": nn.LayerNorm(4)})


def groups_of(model, config, **more):
    return parameter_groups(model.named_parameters(), config, layer_of=lambda name: int(name[0]), layers=3, **more)


def test_the_rate_rises_in_a_line_and_falls_on_a_cosine_to_its_final_share():
    config = OptimConfig(warmup=0.1, final=0.05)
    rates = np.array([rate_share(step, 200, config) for step in range(200)])
    np.testing.assert_allclose(rates[:20], np.arange(1, 21) / 20)
    turn = np.linspace(0, np.pi, 180)
    np.testing.assert_allclose(rates[20:], 0.05 + 0.95 * (1 + np.cos(turn)) / 2)
    assert rates[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
def test_the_rate_stays_a_share_in_the_shortest_runs(steps, warmup):
    rates = [rate_share(step, steps, OptimConfig(warmup=warmup)) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)


def test_each_layer_learns_slower_than_the_one_above_and_only_matrices_decay():
    config = OptimConfig(lr=1.0, layer_decay=0.5, weight_decay=0.1)
    model = layered()
    found = {id(parameter): (group["peak"], group["weight_decay"]) for group in groups_of(model, config) for parameter in group["params"]}
    wanted = {"0.weight": (0.25, 0.1), "0.bias": (0.25, 0), "1.weight": (0.5, 0.1), "1.bias": (0.5, 0), "2.weight": (1, 0), "2.bias": (1, 0)}
    assert {name: found[id(parameter)] for name, parameter in model.named_parameters()} == wanted


def test_every_trainable_parameter_is_in_one_group_and_frozen_ones_in_none():
    model = layered()
    model["0"].weight.requires_grad_(False)
    groups = groups_of(model, OptimConfig(), no_decay=lambda name, _: name == "1.weight")
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)
    assert all(group["weight_decay"] == 0 for group in groups)


def test_the_fused_optimizer_takes_the_step_that_adamw_is_defined_by():
    config = OptimConfig(lr=0.1, layer_decay=1.0, weight_decay=0.2, betas=(0.9, 0.99))
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]], dtype=torch.float64))
    optimizer = make_adamw(parameter_groups([("w", weight)], config, layer_of=lambda _: 0, layers=1), config)
    gradient = torch.tensor([[0.3, -0.1]], dtype=torch.float64)
    value, mean, square = weight.detach().clone(), torch.zeros(1, 2).double(), torch.zeros(1, 2).double()
    for step in (1, 2, 3):
        share = rate_share(step - 1, 3, config)
        set_rates(optimizer.param_groups, share)
        weight.grad = gradient.clone() * step
        optimizer.step()
        mean, square = 0.9 * mean + 0.1 * gradient * step, 0.99 * square + 0.01 * (gradient * step) ** 2
        value = value * (1 - 0.1 * share * 0.2)
        value = value - 0.1 * share * (mean / (1 - 0.9**step)) / ((square / (1 - 0.99**step)).sqrt() + 1e-8)
    torch.testing.assert_close(weight.detach(), value)


@pytest.mark.parametrize("change", [{"lr": 0.0}, {"layer_decay": 0.0}, {"layer_decay": 1.1}, {"warmup": 2.0}, {"clip": -1.0}])
def test_settings_that_cannot_train_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        OptimConfig(**change)
