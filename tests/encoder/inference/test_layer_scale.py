import pytest
import timm
import torch

from abaw_ray.encoder.inference.layer_scale import fold_layer_scale

SIZES = {"img_size": 28, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
MODELS = {
    "vit_small_patch14_dinov2": {},
    "vit_small_patch14_reg4_dinov2": {},
    "vit_small_plus_patch16_dinov3": {"img_size": 32},
    "eva02_tiny_patch14_224": {"init_values": 1e-5},
}


def build(name):
    torch.manual_seed(0)
    vit = timm.create_model(name, **{**SIZES, **MODELS[name]}).eval()
    with torch.no_grad():
        for parameter_name, parameter in vit.named_parameters():
            if parameter_name.endswith(("gamma", "gamma_1", "gamma_2")):
                parameter.uniform_(-2, 2)
            elif parameter.ndim > 1:
                parameter.mul_(5)
    return vit


@pytest.mark.parametrize("name", MODELS)
def test_a_folded_model_is_the_same_function_without_layer_scale(name):
    vit = build(name)
    pixels = torch.randn(3, 3, MODELS[name].get("img_size", 28), MODELS[name].get("img_size", 28))
    with torch.inference_mode():
        expected = vit(pixels)
        removed = fold_layer_scale(vit)
        folded = vit(pixels)
    assert removed == 4
    assert not [name for name, _ in vit.named_parameters() if "gamma" in name]
    torch.testing.assert_close(folded, expected, rtol=1e-5, atol=1e-5)


def test_a_model_without_layer_scale_stays_as_it_is():
    vit = timm.create_model("vit_small_patch14_dinov2", **SIZES, init_values=0)
    before = {name: value.clone() for name, value in vit.state_dict().items()}
    assert fold_layer_scale(vit) == 0
    torch.testing.assert_close(dict(vit.state_dict()), before)
