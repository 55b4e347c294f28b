import json
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from abaw_ray.core.errors import ConfigError, DataError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.checkpoint import load_encoder, save_encoder
from abaw_ray.encoder.config import EncoderConfig, ModelConfig
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.model import build_encoder, check_architecture, check_weights, layer_of

pytestmark = pytest.mark.slow


def pixels(count=3, size=28):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def built(config, seed=0):
    torch.manual_seed(seed)
    return build_encoder(config.model).eval()


@torch.no_grad()
@pytest.mark.parametrize("init_values", [None, 0.0, 0.1])
def test_a_saved_encoder_loads_in_plain_timm_and_gives_the_same_vectors(config, tmp_path, init_values):
    encoder = built(replace(config, model=replace(config.model, init_values=init_values, mean=(0.1, 0.2, 0.3))))
    save_encoder(tmp_path, encoder)
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    data = timm.data.resolve_model_data_config(plain)
    assert data["input_size"] == (3, 28, 28)
    images = pixels()
    mean, std = (torch.tensor(data[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    vectors = plain.eval()((images.float() / 255 - mean) / std)
    assert vectors.shape == (3, plain.num_features) == (3, 32)
    torch.testing.assert_close(encoder(images), vectors, atol=1e-6, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("init_values", [None, 0.0, 0.1])
def test_a_saved_encoder_loads_with_the_same_settings_and_weights(config, tmp_path, init_values):
    model = replace(config.model, init_values=init_values, drop_path_rate=0.2, mean=(0.1, 0.2, 0.3))
    encoder = built(replace(config, model=model))
    save_encoder(tmp_path, encoder)
    again = load_encoder(tmp_path)
    assert not again.training
    assert (again.img_size, again.dim) == (28, 32)
    torch.testing.assert_close(again(pixels()), encoder(pixels()), atol=0, rtol=0)


@pytest.mark.parametrize(("init_values", "expected"), [(None, 1e-5), (0.0, None), (0.1, 0.1)])
def test_layer_scale_has_the_architectures_own_initial_value_or_the_given_one_and_zero_removes_it(config, init_values, expected):
    block = built(replace(config, model=replace(config.model, init_values=init_values))).vit.blocks[0]
    assert getattr(block.ls1, "gamma", None) is None if expected is None else block.ls1.gamma.tolist() == pytest.approx([expected] * 32)


def test_pixels_of_unknown_range_are_refused(config):
    with pytest.raises(TypeError, match="uint8"):
        built(config)(pixels().float() / 255)


@torch.no_grad()
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_initial_weights_come_from_a_file_and_fit_another_input_size(config, tmp_path, suffix):
    source = built(config, seed=5)
    path = tmp_path / f"weights.{suffix}"
    state = {name: value.contiguous() for name, value in source.vit.state_dict().items()}
    save_file(state, path) if suffix == "safetensors" else torch.save(state, path)
    same = build_encoder(replace(config.model, weights=str(path)))
    torch.testing.assert_close(same.eval()(pixels()), source(pixels()), atol=0, rtol=0)
    larger = build_encoder(replace(config.model, img_size=56, weights=str(path)))
    assert larger(pixels(size=56)).shape == (3, 32)
    torch.testing.assert_close(larger.vit.blocks[0].attn.qkv.weight, source.vit.blocks[0].attn.qkv.weight)


def test_missing_broken_or_mismatched_weights_are_named_in_the_error(config, tmp_path):
    (tmp_path / "text.pt").write_text("no weights")
    save_encoder(tmp_path / "wide", built(replace(config, model=replace(config.model, embed_dim=64))))
    refused = {"gone.safetensors": "no such file", "text.pt": "cannot be loaded", "wide/model.safetensors": "cannot be loaded"}
    for name, reason in refused.items():
        with pytest.raises((ConfigError, DataError), match=reason) as caught:
            build_encoder(replace(config.model, weights=str(tmp_path / name)))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_without_a_complete_encoder_is_named_in_the_error(config, tmp_path):
    with pytest.raises(DataError, match="holds no config.json"):
        load_encoder(tmp_path)
    save_encoder(tmp_path, built(config))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="holds no model.safetensors"):
        load_encoder(tmp_path)
    save_encoder(tmp_path, built(replace(config, model=replace(config.model, depth=3))))
    body = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**body, "model_args": {**body["model_args"], "depth": 2}}))
    with pytest.raises(DataError, match="not a complete saved encoder"):
        load_encoder(tmp_path)


def test_an_unknown_architecture_and_invalid_sizes_are_refused():
    with pytest.raises(ConfigError, match="vit_small_patch14_dino"):
        check_architecture(ModelConfig(name="vit_small_patch14_dino3"))
    with pytest.raises(ConfigError, match="vit_small_patch14_dino"):
        build_encoder(ModelConfig(name="vit_small_patch14_dino3", weights="random"))
    with pytest.raises(ConfigError, match="drop_path_rate"):
        ModelConfig(drop_path_rate=1.0)
    with pytest.raises(ConfigError, match="cannot build"):
        build_encoder(ModelConfig(name="vit_small_patch14_dinov2", embed_dim=33, num_heads=2, weights="random"))


def test_every_parameter_has_its_layer_and_tokens_and_biases_have_no_weight_decay(config):
    config = replace(config, optim=replace(config.optim, lr=1.0, layer_decay=0.5, weight_decay=0.1))
    model = ExpressionModel(config)
    groups = model.parameter_groups(config)
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(group_of) == len(list(model.parameters()))
    scales = {id(parameter): scale for group in groups for parameter, scale in zip(group["params"], group["lr_scales"], strict=True)}
    rates = {name: group_of[id(parameter)]["peak_lr"] * scales[id(parameter)] for name, parameter in model.named_parameters()}
    wanted = {"patch_embed": 0.125, "pos_embed": 0.125, "cls_token": 0.125, "blocks.0": 0.25, "blocks.1": 0.5, "norm": 1.0}
    for start, rate in wanted.items():
        assert {value for name, value in rates.items() if name.startswith(f"encoder.vit.{start}")} == {rate}
    assert {value for name, value in rates.items() if name.startswith("head.")} == {1.0}
    undecayed = {name for name, parameter in model.named_parameters() if group_of[id(parameter)]["weight_decay"] == 0}
    assert {"encoder.vit.pos_embed", "encoder.vit.cls_token", "head.in_bias", "head.out_bias", "encoder.vit.blocks.0.norm1.weight"} <= undecayed
    assert not {"head.in_weight", "head.router.weight", "encoder.vit.blocks.0.attn.qkv.weight", "encoder.vit.patch_embed.proj.weight"} & undecayed
    assert layer_of("blocks.11.mlp.fc1.bias") == 12


def quickly_built(config):
    """A model whose weights repeat one small block of random numbers: sampling 300 million takes most of a minute."""
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
    model = quickly_built(replace(config, model=replace(config.model, weights="random")))
    count = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert 303e6 < count < 305e6
    assert model.encoder.dim == 1024
    output = model(pixels(1, 224))
    assert output.logits.shape == (1, 8)
    assert torch.isfinite(output.logits).all()
    groups = model.parameter_groups(config)
    assert len(groups) == 2
    assert {len(set(group["lr_scales"])) for group in groups} == {26}


@torch.no_grad()
def test_weights_from_the_model_hub_equal_those_of_the_published_file(config, model_hub, tmp_path):
    published = built(config, seed=5)
    save_encoder(tmp_path, published)
    model_hub.files["model.safetensors"] = (tmp_path / "model.safetensors").read_bytes()
    for weights, repository in (("hub", "timm/vit_small_patch14_dinov2.lvd142m"), ("owner/name", "owner/name")):
        loaded = build_encoder(replace(config.model, weights=weights)).eval()
        torch.testing.assert_close(loaded(pixels()), published(pixels()), atol=0, rtol=0)
        assert f"GET /{repository}/resolve/main/model.safetensors" in model_hub.requests


def test_hub_weights_without_network_give_a_one_line_error_that_suggests_a_path(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"^encoder\.model\.weights=hub: timm/vit_small\S* not available .* set encoder\.model\.weights to the path"
    ):
        build_encoder(ModelConfig(name="vit_small_patch14_dinov2.lvd142m", img_size=28))


def test_weights_in_an_object_store_are_read_with_the_settings_of_the_store(config, object_store, monkeypatch, tmp_path):
    save_encoder(tmp_path, built(config, seed=5))
    object_store.create_bucket(Bucket="models")
    object_store.upload_file(str(tmp_path / "model.safetensors"), "models", "vit.safetensors")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    model = replace(config.model, weights="s3://models/vit.safetensors")
    storage = StorageConfig(endpoint=object_store.meta.endpoint_url)
    check_weights(model, storage)
    loaded = build_encoder(model, storage)
    torch.testing.assert_close(loaded.vit.pos_embed, built(config, seed=5).vit.pos_embed, atol=0, rtol=0)


def test_an_unreachable_store_of_the_weights_is_a_storage_error(monkeypatch, config):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    storage = StorageConfig(endpoint="http://127.0.0.1:1", attempts=1)
    with pytest.raises(StorageError, match=r"^encoder\.model\.weights=s3://bucket/weights/vit\.pt: "):
        build_encoder(replace(config.model, weights="s3://bucket/weights/vit.pt"), storage)
