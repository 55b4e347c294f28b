"""Every kind of plain vision Transformer in timm, at tiny sizes with random weights: built, trained, saved and loaded."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.encoder.checkpoint import load_encoder, save_encoder
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.memory import EncoderShape
from abaw_ray.encoder.model import build_encoder, check_architecture
from abaw_ray.encoder.noise import draw_noise

pytestmark = pytest.mark.slow

TINY = {
    "dinov2": ModelConfig(name="vit_small_patch14_dinov2.lvd142m", img_size=42),
    "dinov2_registers": ModelConfig(name="vit_small_patch14_reg4_dinov2.lvd142m", img_size=42),
    "dinov3": ModelConfig(name="vit_small_patch16_dinov3.lvd1689m", img_size=48),
    "siglip2": ModelConfig(name="vit_base_patch16_siglip_224.v2_webli", img_size=48),
    "clip": ModelConfig(name="vit_base_patch16_clip_224.openai", img_size=48),
    "eva02": ModelConfig(name="eva02_tiny_patch14_224.mim_in22k", img_size=42),
    "eva02_clip": ModelConfig(name="eva02_base_patch16_clip_224.merged2b", img_size=48),
}
TINY = {kind: replace(model, embed_dim=32, depth=3, num_heads=2, weights="random", drop_path_rate=0.5) for kind, model in TINY.items()}
PREFIX_TOKENS = {"dinov2": 1, "dinov2_registers": 5, "dinov3": 5, "siglip2": 0, "clip": 1, "eva02": 1, "eva02_clip": 1}
NORMALIZATION = {"siglip2": (0.5, 0.5), "clip": (0.48145466, 0.26862954), "eva02": (0.48145466, 0.26862954), "eva02_clip": (0.48145466, 0.26862954)}
PLAIN = """
import sys, timm, torch
folder, image, output = sys.argv[1:]
model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
data = timm.data.resolve_model_data_config(model)
mean, std = (torch.tensor(data[name]).view(1, 3, 1, 1) * 255 for name in ("mean", "std"))
normalized = (torch.load(image).float() - mean) / std
with torch.no_grad():
    torch.save((data["input_size"], model(normalized), model.num_prefix_tokens), output)
assert not any(name.startswith("abaw_ray") for name in sys.modules)
"""


def pixels(model, count=3):
    size = (count, 3, model.img_size, model.img_size)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def built(model):
    torch.manual_seed(0)
    encoder = build_encoder(model).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():  # a norm of ones, or tokens of zeros, would hide one that is not saved
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())) * 0.1)
    return encoder


@torch.no_grad()
@pytest.mark.parametrize("kind", TINY)
def test_a_saved_encoder_loads_in_a_process_with_timm_alone_and_gives_the_same_vectors(kind, tmp_path):
    encoder, images = built(TINY[kind]), pixels(TINY[kind])
    save_encoder(tmp_path / "encoder", encoder)
    torch.save(images, tmp_path / "images.pt")
    (tmp_path / "plain.py").write_text(PLAIN)
    arguments = [str(tmp_path / name) for name in ("plain.py", "encoder", "images.pt", "vectors.pt")]
    subprocess.run([sys.executable, *arguments], check=True, cwd=tmp_path)
    input_size, vectors, prefix_tokens = torch.load(tmp_path / "vectors.pt")
    assert tuple(input_size) == (3, encoder.img_size, encoder.img_size)
    assert (vectors.shape, prefix_tokens) == ((3, 32), PREFIX_TOKENS[kind])
    torch.testing.assert_close(encoder(images), vectors, atol=1e-6, rtol=0)
    torch.testing.assert_close(load_encoder(tmp_path / "encoder")(images), vectors, atol=1e-6, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("kind", [kind for kind in TINY if kind != "siglip2"])
def test_the_joined_vector_is_the_class_token_and_the_mean_of_the_patch_tokens_after_the_last_norm(kind, tmp_path):
    encoder, images = built(replace(TINY[kind], pool="cls_mean")), pixels(TINY[kind])
    save_encoder(tmp_path, encoder)
    assert json.loads((tmp_path / "config.json").read_text())["num_features"] == 32
    loaded, plain = load_encoder(tmp_path), timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert (loaded.pool, loaded.dim) == ("cls_mean", 64)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in encoder.preprocessing[1:])
    tokens = plain.forward_features((images.float() - mean) / std)
    expected = torch.cat([plain.fc_norm(tokens[:, 0]), plain.fc_norm(tokens[:, PREFIX_TOKENS[kind] :].mean(dim=1))], dim=1)
    torch.testing.assert_close(encoder(images), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(loaded(images), expected, atol=1e-6, rtol=0)


def test_the_joined_vector_needs_a_class_token():
    with pytest.raises(ConfigError, match=r"encoder\.model\.pool=cls_mean: vit_base_patch16_siglip_224\S* has no class token; choose own"):
        check_architecture(replace(TINY["siglip2"], pool="cls_mean"))


@pytest.mark.parametrize("kind", TINY)
def test_normalization_and_input_size_are_timms_unless_they_are_set(kind):
    with torch.device("meta"):
        own = build_encoder(replace(TINY[kind], img_size=None))
        changed = build_encoder(replace(TINY[kind], mean=(0.1, 0.2, 0.3)))
    mean, std = NORMALIZATION.get(kind, (0.485, 0.229))
    assert (own.preprocessing.mean[0], own.preprocessing.std[0]) == (mean, std)
    assert own.img_size == {"dinov2": 518, "dinov2_registers": 518, "dinov3": 256}.get(kind, 224)
    assert changed.preprocessing.mean == (0.1, 0.2, 0.3) and changed.preprocessing.std == own.preprocessing.std


@pytest.mark.parametrize("kind", TINY)
def test_learning_rates_follow_the_layers_and_tokens_have_no_weight_decay(kind, config):
    config = replace(config, model=TINY[kind], optim=replace(config.optim, lr=1.0, layer_decay=0.5, weight_decay=0.1))
    model = ExpressionModel(config)
    groups, names = model.parameter_groups(config), {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {names[id(p)]: scale for group in groups for p, scale in zip(group["params"], group["lr_scales"], strict=True)}
    assert scales.keys() == set(names.values())
    wanted = {"patch_embed": 1 / 16, "pos_embed": 1 / 16, "cls_token": 1 / 16, "reg_token": 1 / 16, "norm_pre": 1 / 16}
    wanted |= {"blocks.0": 1 / 8, "blocks.2": 1 / 2, "norm": 1.0, "fc_norm": 1.0, "attn_pool": 1.0}
    for start, scale in wanted.items():
        assert {found for name, found in scales.items() if name.startswith(f"encoder.vit.{start}.") or name == f"encoder.vit.{start}"} <= {scale}
    assert set(scales.values()) == {1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0}
    decayed = {names[id(p)] for group in groups for p in group["params"] if group["weight_decay"]}
    assert not {name for name in decayed if name.split(".")[-1] in ("pos_embed", "cls_token", "reg_token", "bias", "q_bias", "gamma_1", "gamma")}
    assert {f"encoder.vit.blocks.{number}.attn.proj.weight" for number in range(3)} <= decayed


@pytest.mark.parametrize("kind", TINY)
def test_stochastic_depth_and_recomputed_activations_give_the_same_gradients(kind, config):
    images, gradients = pixels(TINY[kind], 4), []
    for recompute in (False, True):
        model = ExpressionModel(replace(config, model=TINY[kind])).train()
        if recompute:
            model.encoder.recompute_activations()
        assert model.noise_sizes.paths == 4  # two branches of every block but the first, whose probability is 0
        noise = draw_noise(0, 0, 4, model.noise_sizes)
        model(images, noise).logits.square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        assert not {name for name, gradient in gradients[-1].items() if gradient is None}
        alone = model(images[:2], noise.of(slice(2))).logits
        torch.testing.assert_close(model(images, noise).logits[:2], alone)
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


@pytest.mark.parametrize("kind", TINY)
def test_the_sizes_that_determine_memory_are_those_of_the_tokens(kind):
    encoder = built(TINY[kind])
    seen = []
    encoder.vit.blocks[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    encoder(pixels(TINY[kind], 1))
    assert encoder.shape == EncoderShape(3, seen[0][1], seen[0][2])


@torch.no_grad()
def test_a_folder_that_timm_saved_with_a_classifier_loads_without_it(tmp_path):
    torch.manual_seed(0)
    sizes = {"img_size": 48, "embed_dim": 32, "depth": 2, "num_heads": 2}
    plain = timm.create_model("vit_base_patch16_clip_224.openai", num_classes=5, **sizes).eval()
    timm.models.save_for_hf(plain, tmp_path, model_config={"num_classes": 5}, model_args=sizes, safe_serialization=True)
    encoder, images = load_encoder(tmp_path, pool="cls_mean"), pixels(TINY["clip"])
    assert encoder.preprocessing.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
    plain.reset_classifier(0)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in encoder.preprocessing[1:])
    torch.testing.assert_close(encoder(images)[:, :32], plain((images.float() - mean) / std), atol=1e-6, rtol=0)
    save_encoder(tmp_path / "again", encoder)
    assert load_encoder(tmp_path / "again").pool == "cls_mean"
    assert not [name for name in load_file(tmp_path / "again/model.safetensors") if name.startswith("head")]


@torch.no_grad()
def test_initial_weights_may_include_the_classifier_and_must_include_all_other_tensors(tmp_path):
    config = replace(TINY["clip"], drop_path_rate=0.0)
    torch.manual_seed(0)
    published = timm.create_model(config.name, num_classes=512, img_size=48, embed_dim=32, depth=3, num_heads=2).eval()
    weights, images = {name: value.clone() for name, value in published.state_dict().items()}, pixels(config)
    encoders = []
    for file, names in {"all": set(weights), "bare": {name for name in weights if not name.startswith("head")}}.items():
        save_file({name: weights[name] for name in names}, tmp_path / f"{file}.safetensors")
        encoders.append(build_encoder(replace(config, weights=str(tmp_path / f"{file}.safetensors"))).eval())
    torch.testing.assert_close(encoders[0](images), encoders[1](images), atol=0, rtol=0)
    published.reset_classifier(0)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in encoders[0].preprocessing[1:])
    torch.testing.assert_close(encoders[0](images), published((images.float() - mean) / std), atol=1e-6, rtol=0)
    save_file({name: value for name, value in weights.items() if name != "norm_pre.weight"}, tmp_path / "part.safetensors")
    with pytest.raises(DataError, match=r"part\.safetensors: cannot be loaded into vit_base_patch16_clip_224\.openai: .*norm_pre\.weight"):
        build_encoder(replace(config, weights=str(tmp_path / "part.safetensors")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "resnet18"}, "timm cannot build resnet18"),
        (
            {"name": "hiera_tiny_224", "img_size": 224, "embed_dim": None, "depth": None, "num_heads": None},
            "hiera_tiny_224: is no plain vision Trans",
        ),
        ({"name": "vit_small_patch14_dinov2.laion"}, "vit_small_patch14_dinov2.laion: Invalid pretrained tag"),
        ({"img_size": 50}, "img_size=50 is no multiple of the patch size of vit_small_patch14_dinov2.lvd142m, 14 pixels"),
        ({"img_size": None, "embed_dim": 33}, "cannot build"),
    ],
)
def test_models_that_cannot_be_built_are_refused_before_any_weights_are_made(changes, reason):
    with pytest.raises(ConfigError, match=reason):
        check_architecture(replace(TINY["dinov2"], **changes))


def test_weights_without_a_tensor_of_the_saved_encoder_are_refused(tmp_path):
    save_encoder(tmp_path, built(TINY["eva02"]))
    weights = load_file(tmp_path / "model.safetensors")
    del weights["blocks.1.mlp.fc2.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=r"not a complete saved encoder: .*blocks\.1\.mlp\.fc2\.weight"):
        load_encoder(tmp_path)
