import pytest
import timm
import torch
from timm.layers.drop import DropPath

from abaw_ray.encoder.noise import Noise, NoiseSizes, StochasticDepth, draw_noise, drop, set_noise, use_stochastic_depth

SIZES = NoiseSizes(paths=3, features=5)


def test_the_numbers_depend_on_seed_and_step_alone():
    first = draw_noise(1, 7, 16, SIZES)
    again = draw_noise(1, 7, 16, SIZES)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert [tuple(part.shape) for part in first] == [(16, 3), (16, 5)]
    assert not torch.equal(draw_noise(1, 8, 16, SIZES).paths, first.paths)
    assert not torch.equal(draw_noise(2, 7, 16, SIZES).paths, first.paths)
    part = first.of(slice(4, 8))
    assert torch.equal(part.features, first.features[4:8])


def test_stochastic_depth_keeps_the_expected_fraction_of_samples_and_their_expectation():
    uniform = draw_noise(0, 0, 20_000, NoiseSizes(paths=1)).paths[:, 0]
    dropped = drop(torch.ones(20_000, 2, 3), 0.2, uniform)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert (dropped.amax(dim=(1, 2)) == dropped.amin(dim=(1, 2))).all(), "a sample is dropped as a whole"
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.fixture
def vit():
    return timm.create_model("vit_small_patch14_dinov2", img_size=28, embed_dim=32, num_heads=2, depth=3, drop_path_rate=0.4, num_classes=0).train()


def test_timms_layers_are_replaced_and_equal_them_for_the_same_masks(vit):
    layers = use_stochastic_depth(vit)
    assert not any(isinstance(module, DropPath) for module in vit.modules())
    assert [layer.probability for layer in layers] == pytest.approx([0.2, 0.2, 0.4, 0.4])
    pixels = torch.randn(6, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    noise = draw_noise(0, 0, 6, NoiseSizes(paths=len(layers)))
    set_noise(layers, noise.paths)
    whole = vit(pixels)
    parts = []
    for start in (0, 2, 4):
        set_noise(layers, noise.of(slice(start, start + 2)).paths)
        parts.append(vit(pixels[start : start + 2]))
    torch.testing.assert_close(torch.cat(parts), whole)
    set_noise(layers, torch.ones(6, len(layers)))
    assert not torch.allclose(vit(pixels), whole)


def test_outside_of_training_nothing_is_dropped_and_in_training_missing_numbers_are_an_error(vit):
    layers = use_stochastic_depth(vit)
    pixels = torch.zeros(2, 3, 28, 28)
    with pytest.raises(RuntimeError, match="random numbers"):
        vit(pixels)
    set_noise(layers, Noise(torch.rand(3, len(layers)), torch.zeros(3, 0)).paths)
    with pytest.raises(RuntimeError, match="random numbers"):
        vit(pixels)
    assert torch.isfinite(vit.eval()(pixels)).all()
    assert torch.equal(StochasticDepth(0.9).eval()(pixels), pixels)
