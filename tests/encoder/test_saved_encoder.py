"""Encoders that were trained before: where they may lie, what identifies them, and what is refused."""

import json
import shutil

import pytest
import torch

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.encoder.checkpoint import load_encoder, save_encoder
from abaw_ray.encoder.config import ModelConfig
from abaw_ray.encoder.model import build_encoder
from abaw_ray.encoder.vit.saved_encoder import SavedEncoder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a saved encoder for images of 28 pixels."""
    folder = tmp_path_factory.mktemp("saved") / "trained"
    torch.manual_seed(0)
    save_encoder(
        folder, build_encoder(ModelConfig(name="vit_small_patch14_dinov2", img_size=28, embed_dim=24, depth=1, num_heads=2, weights="random"))
    )
    return folder


def test_it_lies_in_a_folder_or_below_a_model_and_has_the_same_identity_there(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model/encoder")
    direct, below = SavedEncoder(str(folder)), SavedEncoder(str(tmp_path / "model"))
    for saved in (direct, below):
        saved.check()
        assert saved.img_size() == 28
        with saved.local_folder() as local:
            assert load_encoder(local).dim == 24
    assert direct.identity() == below.identity()


def test_another_content_at_the_same_path_has_another_identity(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "encoder")
    before = SavedEncoder(str(tmp_path)).identity()
    weights = bytearray((tmp_path / "encoder/model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "encoder/model.safetensors").write_bytes(weights)
    assert SavedEncoder(str(tmp_path)).identity() != before


def test_it_is_read_from_an_object_store_with_the_settings_of_the_store(folder, object_store, monkeypatch):
    object_store.create_bucket(Bucket="models")
    for name in ("config.json", "model.safetensors"):
        object_store.upload_file(str(folder / name), "models", f"faces/{name}")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    saved = SavedEncoder("s3://models/faces", StorageConfig(endpoint=object_store.meta.endpoint_url))
    saved.check()
    assert (saved.img_size(), saved.identity()) == (28, SavedEncoder(str(folder)).identity())
    with saved.local_folder() as local:
        assert load_encoder(local).dim == 24


def test_one_on_the_model_hub_is_checked_without_its_weights_and_identified_by_its_repository(folder, model_hub):
    model_hub.files |= {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    saved = SavedEncoder("owner/name")
    saved.check()
    assert (saved.img_size(), saved.identity()) == (28, "owner/name")
    assert not [request for request in model_hub.requests if request.startswith("GET") and request.endswith("model.safetensors")]
    with saved.local_folder() as local:
        assert load_encoder(local).dim == 24


def test_the_input_size_of_a_folder_of_timm_is_that_of_its_weights(tmp_path):
    for body in ({"architecture": "x", "pretrained_cfg": {"input_size": [3, 256, 256]}}, {"architecture": "x", "input_size": [3, 256, 256]}):
        (tmp_path / "config.json").write_text(json.dumps(body))
        assert SavedEncoder(str(tmp_path)).img_size() == 256


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("random", "is no folder"),
        ("hub", "the model hub has no weights"),
        ("nowhere/encoder", "not available from the model hub|no such file"),
        ("{folder}/model.safetensors", "is no folder"),
        ("{empty}", "is a folder without config.json"),
        ("{other}", "names no architecture of timm"),
        ("{broken}", "its config.json is no JSON"),
        ("{unweighted}", "is a folder without model.safetensors"),
    ],
)
def test_what_is_no_saved_encoder_is_refused_with_the_setting_and_what_to_give(path, reason, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    names = {name: tmp_path / name for name in ("empty", "other", "broken", "unweighted")}
    for name in names.values():
        name.mkdir()
    shutil.copytree(folder, names["other"], dirs_exist_ok=True)
    (names["other"] / "config.json").write_text(json.dumps({"architecture": "vit_none"}))
    shutil.copytree(folder, names["broken"], dirs_exist_ok=True)
    (names["broken"] / "config.json").write_text("{")
    shutil.copy(folder / "config.json", names["unweighted"])
    value = path.format(folder=folder, **names)
    with pytest.raises(ConfigError, match=reason) as caught:
        SavedEncoder(value).check()
    assert str(caught.value).startswith(f"encoder.path={value}: ") and "an empty value trains an encoder" in str(caught.value)
