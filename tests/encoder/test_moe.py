import math

import pytest
import torch
from torch.nn import functional

from abaw_ray.core.errors import ConfigError
from abaw_ray.encoder.config import MoeConfig
from abaw_ray.encoder.moe import ExpertLoad, MoeHead, MoeOutput, normalized_entropy


def head_and_features(top_k=2, experts=4, count=12, hidden=5):
    torch.manual_seed(0)
    head = MoeHead(6, 3, MoeConfig(num_experts=experts, top_k=top_k, hidden_dim=hidden, dropout=0.0)).double()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return head, torch.randn(count, 6).double()


def slow_head(head, sample, top_k):
    """One sample: only the chosen experts, one by one."""
    sample = functional.layer_norm(sample, (6,), head.norm.weight, head.norm.bias)
    router = torch.softmax((head.router.weight @ sample + head.router.bias).float(), dim=0)
    selected = sorted(range(len(router)), key=lambda expert: -router[expert].item())[:top_k]
    total = sum(router[expert] for expert in selected) if top_k > 1 else 1.0
    logits = torch.zeros(3).double()
    for expert in selected:
        hidden = functional.gelu(sample @ head.in_weight[expert] + head.in_bias[expert]) if head.config.hidden_dim else sample
        logits += router[expert] / total * (hidden @ head.out_weight[expert] + head.out_bias[expert])
    return logits


@pytest.mark.parametrize("hidden", [5, 0])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_all_experts_masked_by_the_gate_equal_the_selected_experts_alone(top_k, hidden):
    head, features = head_and_features(top_k, hidden=hidden)
    output = head(features)
    slow = torch.stack([slow_head(head, sample, top_k) for sample in features])
    torch.testing.assert_close(output.logits.double(), slow, atol=1e-5, rtol=1e-5)
    assert ((output.gate > 0).sum(dim=1) == top_k).all()
    sums = output.gate.sum(dim=1)
    torch.testing.assert_close(sums, torch.ones_like(sums) if top_k > 1 else output.router_probs.max(dim=1).values)


def test_an_expert_that_no_sample_selects_has_a_gradient_of_zeros_and_not_none():
    head, features = head_and_features(top_k=1)
    with torch.no_grad():
        head.router.weight.zero_()
        head.router.bias.copy_(torch.tensor([5.0, 0.0, 0.0, 0.0]))
    head(features).logits.square().sum().backward()
    assert (head.in_weight.grad[1:] == 0).all()
    assert (head.in_weight.grad[0] != 0).any()


def load_after(*outputs):
    load = ExpertLoad(4)
    for output in outputs:
        load.loss(output)
    load.end_step()
    return load


def test_the_load_balancing_loss_is_one_for_balanced_load_and_the_number_of_experts_for_a_single_one():
    even = torch.full((8, 4), 0.25)
    balanced = MoeOutput(even, even, torch.eye(4).repeat(2, 1))
    assert load_after(balanced).loss(balanced).item() == pytest.approx(1.0)
    alone = torch.tensor([1.0, 0, 0, 0]).repeat(8, 1)
    single = MoeOutput(even, alone, alone)
    assert load_after(single).loss(single).item() == pytest.approx(4.0)
    assert ExpertLoad(4).loss(single).item() == pytest.approx(1.0), "before the first step, experts count as balanced"


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_load_balancing_loss_and_its_gradient_do_not_depend_on_how_a_step_is_divided(top_k):
    head, features = head_and_features(top_k, count=8)
    whole, parts = ExpertLoad(4), [ExpertLoad(4), ExpertLoad(4)]
    whole.loss(head(features))
    whole.end_step()
    for rank, load in enumerate(parts):  # two ranks with two micro-batches each
        for start in (0, 2):
            load.loss(head(features[4 * rank + start : 4 * rank + start + 2]))
    shares = [torch.stack(load._selected).mean(dim=0) for load in parts]
    for load in parts:
        load.end_step(lambda _: sum(shares) / 2)
    assert whole.fractions.sum().item() == pytest.approx(1.0)
    (wanted,) = torch.autograd.grad(whole.loss(head(features)), head.router.weight)
    found = 0
    for rank, load in enumerate(parts):
        torch.testing.assert_close(load.fractions, whole.fractions)
        for start in (0, 2):
            part = load.loss(head(features[4 * rank + start : 4 * rank + start + 2]))
            found += torch.autograd.grad(part, head.router.weight)[0] / 4
    torch.testing.assert_close(found, wanted)


def test_the_fractions_of_a_checkpoint_continue_the_run():
    head, features = head_and_features(count=8)
    load = load_after(head(features))
    resumed = ExpertLoad(4, fractions=load.fractions.tolist())
    assert resumed.loss(head(features)).item() == load.loss(head(features)).item()


def test_dropout_zeroes_features_by_the_given_numbers_in_training_only():
    head, features = head_and_features(count=8)
    plain = head(features).logits
    head.config = MoeConfig(num_experts=4, top_k=2, hidden_dim=5, dropout=0.5)
    torch.testing.assert_close(head(features, torch.ones_like(features)).logits.isfinite().all(), torch.tensor(True))
    assert not torch.allclose(head(features, torch.rand_like(features)).logits, plain)
    with pytest.raises(RuntimeError, match="random numbers"):
        head(features)
    torch.testing.assert_close(head.eval()(features).logits, plain)


def test_normalized_entropy_is_one_for_equal_shares_and_zero_for_a_single_expert():
    shares = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    torch.testing.assert_close(normalized_entropy(shares), torch.tensor([1.0, 0.0, 0.5]))
    assert normalized_entropy(torch.ones(3, 1)).tolist() == [1, 1, 1]
    assert not math.isnan(normalized_entropy(torch.zeros(4)).item())


def test_invalid_numbers_of_experts_are_refused():
    for change in ({"top_k": 5}, {"top_k": 0}, {"num_experts": 1}):
        with pytest.raises(ConfigError, match="moe.top_k"):
            MoeConfig(**change)
