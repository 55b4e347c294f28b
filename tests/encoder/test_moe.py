import math

import pytest
import torch
from torch.nn import functional

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.moe import MoeConfig, MoeHead, Routed, balance_loss, entropy


def head_and_features(active=2, experts=4, count=12, hidden=5):
    torch.manual_seed(0)
    head = MoeHead(6, 3, MoeConfig(experts=experts, active=active, hidden=hidden, dropout=0.0)).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return head, torch.randn(count, 6).double()


def slow_head(head, sample, active):
    """One sample: only the chosen experts, one by one."""
    sample = functional.layer_norm(sample, (6,), head.norm.weight, head.norm.bias)
    router = torch.softmax((head.router.weight @ sample + head.router.bias).float(), dim=0)
    chosen = sorted(range(len(router)), key=lambda expert: -router[expert].item())[:active]
    total = sum(router[expert] for expert in chosen) if active > 1 else 1.0
    logits = torch.zeros(3).double()
    for expert in chosen:
        hidden = functional.gelu(sample @ head.in_weight[expert] + head.in_bias[expert]) if head.config.hidden else sample
        logits += router[expert] / total * (hidden @ head.out_weight[expert] + head.out_bias[expert])
    return logits


@pytest.mark.parametrize("hidden", [5, 0])
@pytest.mark.parametrize("active", [1, 2, 4])
def test_all_experts_masked_by_the_gate_are_the_chosen_experts_alone(active, hidden):
    head, features = head_and_features(active, hidden=hidden)
    routed = head(features)
    slow = torch.stack([slow_head(head, sample, active) for sample in features])
    torch.testing.assert_close(routed.logits.double(), slow, atol=1e-5, rtol=1e-5)
    assert ((routed.gate > 0).sum(dim=1) == active).all()
    sums = routed.gate.sum(dim=1)
    torch.testing.assert_close(sums, torch.ones_like(sums) if active > 1 else routed.router.max(dim=1).values)


def test_an_expert_that_nobody_reached_has_a_gradient_of_zeros_and_not_none():
    head, features = head_and_features(active=1)
    with torch.no_grad():
        head.router.weight.zero_()
        head.router.bias.copy_(torch.tensor([5.0, 0.0, 0.0, 0.0]))
    head(features).logits.square().sum().backward()
    assert (head.in_weight.grad[1:] == 0).all()
    assert (head.in_weight.grad[0] != 0).any()


def test_the_balance_loss_is_one_when_busy_equally_and_the_number_of_experts_when_one_does_all():
    even = torch.full((8, 4), 0.25)
    gate = torch.eye(4).repeat(2, 1)
    assert balance_loss(Routed(even, even, gate)).item() == pytest.approx(1.0)
    alone = torch.tensor([1.0, 0, 0, 0]).repeat(8, 1)
    assert balance_loss(Routed(even, alone, alone)).item() == pytest.approx(4.0)


@pytest.mark.parametrize("active", [1, 2])
def test_the_mean_over_ranks_of_the_balance_loss_and_its_gradient_is_that_of_the_joined_batch(active):
    head, features = head_and_features(active, count=8)
    whole = balance_loss(head(features))
    (wanted,) = torch.autograd.grad(whole, head.router.weight)
    halves = [head(features[:4]), head(features[4:])]
    shares = [(half.gate > 0).float().mean(dim=0) for half in halves]
    losses = [balance_loss(half, lambda _: sum(shares) / 2) for half in halves]
    found = sum(torch.autograd.grad(loss, head.router.weight)[0] for loss in losses) / 2
    torch.testing.assert_close(sum(losses) / 2, whole)
    torch.testing.assert_close(found, wanted)


def test_entropy_is_one_for_equal_shares_and_zero_for_a_single_one():
    shares = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(entropy(shares), torch.tensor([1.0, 0.0, 0.5]))
    assert entropy(torch.ones(3, 1)).tolist() == [1, 1, 1]
    assert not math.isnan(entropy(torch.zeros(4)).item())


def test_a_router_without_a_choice_is_refused():
    for change in ({"active": 5}, {"active": 0}, {"experts": 1}):
        with pytest.raises(ConfigError, match="moe.active"):
            MoeConfig(**change)
