import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from abaw_ray.core.errors import ConfigError, DataError, StorageError
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.model import ModelConfig, build_encoder, layer_of, load_encoder, save_encoder
from abaw_ray.encoder.task import ExpressionModel


def pixels(count=3, size=28):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def built(config, seed=0):
    torch.manual_seed(seed)
    return build_encoder(config.model).eval()


@torch.no_grad()
def test_a_saved_encoder_loads_in_plain_timm_and_gives_the_same_vectors(config, tmp_path):
    encoder = built(config)
    save_encoder(tmp_path, encoder)
    body = json.loads((tmp_path / "config.json").read_text())
    plain = timm.create_model(body["architecture"], pretrained=False, **body["arguments"])
    plain.load_state_dict(load_file(tmp_path / "model.safetensors"))
    images = pixels()
    mean, std = (torch.tensor(body[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    vectors = plain.eval()((images.float() / 255 - mean) / std)
    assert vectors.shape == (3, body["dim"]) == (3, 32)
    torch.testing.assert_close(encoder(images), vectors, atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("layer_scale", [None, 0.0, 0.1])
def test_a_saved_encoder_loads_again_as_it_was(config, tmp_path, layer_scale):
    model = replace(config.model, layer_scale=layer_scale, drop_path=0.2, mean=(0.1, 0.2, 0.3))
    encoder = built(replace(config, model=model))
    save_encoder(tmp_path, encoder)
    again = load_encoder(tmp_path)
    assert not again.training
    assert (again.size, again.dim) == (28, 32)
    torch.testing.assert_close(again(pixels()), encoder(pixels()), atol=0, rtol=0)


@pytest.mark.parametrize(("asked", "found"), [(None, 1e-5), (0.0, None), (0.1, 0.1)])
def test_layer_scale_is_the_architectures_own_or_as_asked_and_zero_leaves_it_out(config, asked, found):
    block = built(replace(config, model=replace(config.model, layer_scale=asked))).vit.blocks[0]
    assert getattr(block.ls1, "gamma", None) is None if found is None else block.ls1.gamma.tolist() == pytest.approx([found] * 32)


def test_pixels_of_unknown_range_are_refused(config):
    with pytest.raises(TypeError, match="uint8"):
        built(config)(pixels().float() / 255)


@torch.no_grad()
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_first_weights_come_from_a_file_and_fit_another_input_size(config, tmp_path, suffix):
    source = built(config, seed=5)
    path = tmp_path / f"weights.{suffix}"
    state = {name: value.contiguous() for name, value in source.vit.state_dict().items()}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    same = build_encoder(replace(config.model, weights=str(path)))
    torch.testing.assert_close(same.eval()(pixels()), source(pixels()), atol=0, rtol=0)
    larger = build_encoder(replace(config.model, size=56, weights=str(path)))
    assert larger(pixels(size=56)).shape == (3, 32)
    torch.testing.assert_close(larger.vit.blocks[0].attn.qkv.weight, source.vit.blocks[0].attn.qkv.weight)


def test_weights_that_are_missing_broken_or_of_another_model_are_named(config, tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    save_encoder(tmp_path / "wide", built(replace(config, model=replace(config.model, width=64))))
    for name, said in (("gone.safetensors", "no such file"), ("text.pt", "cannot be loaded"), ("wide/model.safetensors", "cannot be loaded")):
        with pytest.raises(DataError, match=said) as caught:
            build_encoder(replace(config.model, weights=str(tmp_path / name)))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_without_an_encoder_and_a_half_one_are_named(config, tmp_path):
    with pytest.raises(DataError, match="holds no config.json"):
        load_encoder(tmp_path)
    save_encoder(tmp_path, built(config))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="holds no model.safetensors"):
        load_encoder(tmp_path)
    save_encoder(tmp_path, built(replace(config, model=replace(config.model, depth=3))))
    body = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**body, "arguments": {**body["arguments"], "depth": 2}}))
    with pytest.raises(DataError, match="not a whole saved encoder"):
        load_encoder(tmp_path)


def test_an_unknown_model_and_impossible_sizes_are_refused_before_anything_runs():
    with pytest.raises(ConfigError, match="vit_small_patch14_dino"):
        ModelConfig(name="vit_small_patch14_dino3")
    with pytest.raises(ConfigError, match="drop_path"):
        ModelConfig(drop_path=1.0)
    with pytest.raises(ConfigError, match="cannot build"):
        build_encoder(ModelConfig(name="vit_small_patch14_dinov2", width=33, heads=2, weights=""))


def test_every_parameter_has_its_layer_and_tokens_and_biases_do_not_decay(config):
    config = replace(config, optim=replace(config.optim, lr=1.0, layer_decay=0.5, weight_decay=0.1))
    model = ExpressionModel(config)
    found = {id(parameter): group for group in model.groups(config) for parameter in group["params"]}
    assert len(found) == len(list(model.parameters()))
    rates = {name: found[id(parameter)]["peak"] for name, parameter in model.named_parameters()}
    wanted = {"patch_embed": 0.125, "pos_embed": 0.125, "cls_token": 0.125, "blocks.0": 0.25, "blocks.1": 0.5, "norm": 1.0}
    for start, rate in wanted.items():
        assert {value for name, value in rates.items() if name.startswith(f"encoder.vit.{start}")} == {rate}
    assert {value for name, value in rates.items() if name.startswith("head.")} == {1.0}
    free = {name for name, parameter in model.named_parameters() if found[id(parameter)]["weight_decay"] == 0}
    assert {"encoder.vit.pos_embed", "encoder.vit.cls_token", "head.in_bias", "head.out_bias", "encoder.vit.blocks.0.norm1.weight"} <= free
    assert not {"head.in_weight", "head.router.weight", "encoder.vit.blocks.0.attn.qkv.weight", "encoder.vit.patch_embed.proj.weight"} & free
    assert layer_of("blocks.11.mlp.fc1.bias") == 12


def quickly_built(config):
    """A model whose weights repeat one small block of random numbers: drawing 300 million one by one takes most of a minute."""
    with torch.device("meta"):
        model = ExpressionModel(config)
    model, block = model.to_empty(device="cpu"), torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)) * 0.02
    for parameter in model.parameters():
        parameter.copy_(block.repeat(1 + parameter.numel() // len(block))[: parameter.numel()].view_as(parameter))
    return model.eval()


@torch.no_grad()
def test_the_papers_encoder_is_vit_large_and_takes_224_pixels():
    config = EncoderConfig()
    assert (config.model.name, config.model.weights) == ("vit_large_patch14_dinov2.lvd142m", "hub")
    model = quickly_built(replace(config, model=replace(config.model, weights="")))
    count = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert 303e6 < count < 305e6
    assert model.encoder.dim == 1024
    routed = model(pixels(1, 224))
    assert routed.logits.shape == (1, 8)
    assert torch.isfinite(routed.logits).all()
    assert len(model.groups(config)) == 2 * 26


def test_weights_of_the_hub_without_network_are_one_line_that_asks_for_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DataError, match=r"^model\.weights=hub: vit_small_patch14_dinov2\.lvd142m cannot .* give model\.weights the path or URI"):
        build_encoder(ModelConfig(name="vit_small_patch14_dinov2.lvd142m", size=28))


@pytest.mark.slow
def test_a_store_that_does_not_give_the_weights_is_not_the_weights_fault(monkeypatch, config):
    monkeypatch.setattr("abaw_ray.core.storage.retries.wait_random_exponential", lambda **_: lambda state: 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with pytest.raises(StorageError, match=r"^s3://bucket/weights/vit\.pt: "):
        build_encoder(replace(config.model, weights="s3://bucket/weights/vit.pt"))
