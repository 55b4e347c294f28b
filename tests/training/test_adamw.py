import pytest
import torch
from torch import nn

from abaw_ray.training.adamw import Slice, SlicedAdamW
from abaw_ray.training.config import OptimConfig

OPTIM = OptimConfig(lr=0.1, weight_decay=0.2, betas=(0.8, 0.95))
SIZES, SCALES = (6, 1, 9, 4), (0.25, 0.25, 0.5, 1.0)


def gradients(step):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(size, generator=generator) for size in SIZES]


def tensors():
    return [nn.Parameter(torch.linspace(-1, 1, size)) for size in SIZES]


def take_steps(optimizer, parameters):
    """Three steps with fixed gradients."""
    for step in range(3):
        for tensor, gradient in zip(parameters, gradients(step), strict=True):
            tensor.grad = gradient
        optimizer.step()


@pytest.fixture
def wanted():
    """Parameters and averages after three steps of PyTorch's own AdamW with one group per tensor."""
    parameters = tensors()
    groups = [{"params": [tensor], "lr": 0.1 * scale} for tensor, scale in zip(parameters, SCALES, strict=True)]
    optimizer = torch.optim.AdamW(groups, betas=OPTIM.betas, weight_decay=OPTIM.weight_decay, foreach=False, fused=False)
    take_steps(optimizer, parameters)
    return [tensor.detach() for tensor in parameters], [optimizer.state[tensor]["exp_avg_sq"] for tensor in parameters]


def test_steps_inside_the_block_without_steps_change_nothing_and_are_not_counted(wanted):
    parameters = tensors()
    optimizer = SlicedAdamW([{"params": parameters, "lr_scales": SCALES}], OPTIM)
    with optimizer.without_steps():
        for tensor, gradient in zip(parameters, gradients(9), strict=True):
            tensor.grad = gradient
        optimizer.step()
        assert not optimizer.state and all(torch.equal(tensor, initial) for tensor, initial in zip(parameters, tensors(), strict=True))
    take_steps(optimizer, parameters)
    for tensor, value in zip(parameters, wanted[0], strict=True):
        torch.testing.assert_close(tensor.detach(), value)


def test_one_group_with_a_scale_per_tensor_equals_one_group_per_tensor(wanted):
    parameters = tensors()
    optimizer = SlicedAdamW([{"params": parameters, "lr_scales": SCALES}], OPTIM)
    take_steps(optimizer, parameters)
    for found, value in zip(parameters, wanted[0], strict=True):
        torch.testing.assert_close(found.detach(), value)
    assert {int(optimizer.state[tensor]["step"]) for tensor in parameters} == {3}


@pytest.mark.parametrize("part", [slice(0, 23), slice(0, 11), slice(11, 23)])
def test_a_part_of_a_flat_tensor_with_padding_equals_the_same_elements_of_separate_tensors(wanted, part):
    padded = torch.cat([*(tensor.detach() for tensor in tensors()), torch.full((3,), 7.0)])
    flat = nn.Parameter(padded[part].clone())
    optimizer = SlicedAdamW([{"params": [flat]}], OPTIM)
    starts = [sum(SIZES[:index]) - part.start for index in range(len(SIZES))]
    ranges = [(max(start, 0), min(start + size, len(flat)), scale) for start, size, scale in zip(starts, SIZES, SCALES, strict=True)]
    optimizer.set_slices(flat, [Slice(*one) for one in ranges if one[0] < one[1]])
    for step in range(3):
        flat.grad = torch.cat([*gradients(step), torch.zeros(3)])[part]
        optimizer.step()
    count = min(part.stop, 20) - part.start
    torch.testing.assert_close(flat.detach()[:count], torch.cat(wanted[0])[part][:count])
    torch.testing.assert_close(optimizer.state[flat]["exp_avg_sq"][:count], torch.cat(wanted[1])[part][:count])
    assert (flat.detach()[count:] == 7.0).all(), "padding is not updated"
    assert int(optimizer.state[flat]["step"]) == 3


def test_the_state_that_is_saved_continues_the_run(wanted):
    first, second = tensors(), tensors()
    optimizer = SlicedAdamW([{"params": first, "lr_scales": SCALES}], OPTIM)
    for step in range(3):
        if step == 2:
            state = optimizer.state_dict()
            for tensor, other in zip(second, first, strict=True):
                tensor.data.copy_(other.data)
            first, optimizer = second, SlicedAdamW([{"params": second, "lr_scales": SCALES}], OPTIM)
            optimizer.load_state_dict(state)
        for tensor, gradient in zip(first, gradients(step), strict=True):
            tensor.grad = gradient
        optimizer.step()
    for found, value in zip(second, wanted[0], strict=True):
        torch.testing.assert_close(found.detach(), value)


def test_a_tensor_without_a_gradient_is_left_alone():
    moved, still = tensors()[:2]
    optimizer = SlicedAdamW([{"params": [moved, still]}], OPTIM)
    moved.grad = torch.ones_like(moved)
    optimizer.step()
    assert still not in optimizer.state
    torch.testing.assert_close(still.detach(), torch.tensor([-1.0]))


@pytest.mark.parametrize("slices", [[Slice(0, 4, 1.0), Slice(3, 6, 0.5)], [Slice(0, 7, 1.0)], [Slice(-1, 3, 1.0)]])
def test_slices_that_overlap_or_exceed_the_tensor_are_refused(slices):
    tensor = tensors()[0]
    with pytest.raises(ValueError, match="6 elements"):
        SlicedAdamW([{"params": [tensor]}], OPTIM).set_slices(tensor, slices)


def test_a_closure_is_refused():
    with pytest.raises(ValueError, match="closure"):
        SlicedAdamW([{"params": tensors()}], OPTIM).step(lambda: 0.0)
