import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from tiny_bundle import METADATA

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.licenses import License
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.features.config import SpeechConfig
from abaw_ray.features.wav2vec import save_speech_model
from abaw_ray.predict.bundle.card import render_card
from abaw_ray.predict.bundle.metadata import read_metadata
from abaw_ray.predict.bundle.store import has_bundle, open_bundle, upload_bundle
from abaw_ray.predict.models.audio_visual import AudioVisualModel

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "model")


def test_a_bundle_has_safetensors_and_json_only_and_lists_them_all(bundle):
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    metadata = read_metadata(bundle / "bundle.json", "model")
    assert files == {"bundle.json", *metadata.files}
    assert {path.rpartition(".")[2] for path in files} == {"safetensors", "json", "md"}
    assert replace(metadata, files={}, fusion=(), features=METADATA.features) == METADATA
    assert metadata.fusion == ("fusion/fold-0", "fusion/fold-1")


def test_a_bundle_does_not_have_the_locations_of_the_training_machine(bundle):
    text = (bundle / "bundle.json").read_text()
    assert "/tmp" not in text
    assert json.loads(text)["features"]["speech"]["weights"] == "speech"


def test_a_speech_model_of_the_model_hub_stays_there(tmp_path):
    assert save_speech_model(tmp_path / "speech", SpeechConfig()) == "facebook/wav2vec2-base-960h"
    assert not (tmp_path / "speech").exists()


@pytest.mark.parametrize("layer", [(0, 1), -1, "mean"])
def test_a_saved_model_extracts_the_layers_with_which_it_was_trained(copy, layer):
    features = json.loads((copy / "bundle.json").read_text())["features"]
    features["speech"]["layer"] = layer
    change(copy, features=features)
    with open_bundle(str(copy)) as opened:
        assert AudioVisualModel(opened)._extract.speech.config.layer == layer


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "bundle.json").unlink(), "is a folder without bundle.json"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "does not describe a model of this package"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "bundle.json cannot be read"),
        (lambda folder: (folder / "encoder/model.safetensors").unlink(), "encoder/model.safetensors is missing"),
        (lambda folder: (folder / "fusion/fold-1/fusion.json").write_text("{}"), r"fusion/fold-1/fusion.json has 2 bytes instead of"),
        (lambda folder: flip_last_byte(folder / "encoder/model.safetensors"), "the content of encoder/model.safetensors has changed"),
        (lambda folder: change(folder, format_version=2), "has format version 2, this package reads version 1"),
        (lambda folder: change(folder, expressions=["Neutral"]), "its expressions are Neutral, not Neutral, Anger"),
        (lambda folder: change(folder, files={"../weights.safetensors": {"size": 1, "sha256": ""}}), r"lists '\.\./weights.safetensors'"),
        (lambda folder: change(folder, files={"weights.pkl": {"size": 1, "sha256": ""}}), "lists 'weights.pkl'; a model has only"),
        (lambda folder: change(folder, faces={"detector": {"kindd": "haar"}}), "no field 'kindd'"),
    ],
)
def test_damaged_and_foreign_bundles_are_refused_with_the_reason(copy, damage, message):
    damage(copy)
    with pytest.raises((ConfigError, DataError), match=message) as caught, open_bundle(str(copy)):
        pass
    assert "model" in str(caught.value)
    assert "\n" not in str(caught.value)


def change(folder, **values):
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def flip_last_byte(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_bundle_in_an_object_store_opens_like_a_folder(bundle, object_store):
    object_store.create_bucket(Bucket="models")
    config = StorageConfig(uri="s3://models", endpoint=object_store.meta.endpoint_url)
    storage = Storage(config)
    assert not has_bundle(storage, "demo/model", "tiny-1")
    upload_bundle(bundle, storage, "demo/model")
    assert has_bundle(storage, "demo/model", "tiny-1")
    assert not has_bundle(storage, "demo/model", "another")
    with open_bundle("s3://models/demo/model", config) as opened:
        assert (opened.folder / "encoder/config.json").read_bytes() == (bundle / "encoder/config.json").read_bytes()
    storage.delete("demo/model/encoder/config.json")
    assert not has_bundle(storage, "demo/model", "tiny-1")
    with (
        pytest.raises(ConfigError, match=r"s3://models/demo/model: lacks a file that its bundle.json lists"),
        open_bundle("s3://models/demo/model", config),
    ):
        pass


def test_a_bundle_on_the_model_hub_is_downloaded_file_by_file(bundle, model_hub):
    flat = {path.name: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    metadata = read_metadata(bundle / "bundle.json", "model")
    encoder = {name: file for name, file in metadata.files.items() if name.startswith("encoder/")}  # the test hub serves files by their last name
    flat["bundle.json"] = replace(metadata, files=encoder).to_json()
    flat["config.json"], flat["model.safetensors"] = ((bundle / "encoder" / name).read_bytes() for name in ("config.json", "model.safetensors"))
    model_hub.files |= flat
    with open_bundle("owner/name") as opened:
        assert (opened.folder / "encoder/model.safetensors").is_file()
    assert any("owner/name/resolve/" in request and request.endswith("encoder/model.safetensors") for request in model_hub.requests)


def test_the_card_has_the_front_matter_of_the_model_hub_and_the_limits_of_use(bundle):
    text = (bundle / "README.md").read_text()
    card = ModelCard(text, ignore_metadata_errors=False)
    assert card.data.license == "apache-2.0"
    assert card.data.eval_results[0].metric_value == 0.5
    assert yaml.safe_load(text.split("---")[1])["library_name"] == "abaw_ray"
    for sentence in ("Trained on generated faces", "AI Act", "consent", "Free to use.", "timm.create_model"):
        assert sentence in text


def test_the_card_of_a_research_model_states_its_license():
    card = render_card(replace(METADATA, license=License(id="other", terms="For research only."), is_synthetic=False, scores={}))
    assert "license_name: research-only" in card
    assert "generated faces." not in card
    assert "None were measured" in card


@torch.no_grad()
def test_the_encoder_of_a_bundle_loads_in_plain_timm(bundle):
    import timm

    from abaw_ray.encoder.checkpoint import load_encoder

    plain = timm.create_model(f"local-dir:{bundle}/encoder", pretrained=True).eval()
    pixels = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    data = timm.data.resolve_model_data_config(plain)
    mean, std = (torch.tensor(data[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(plain((pixels / 255 - mean) / std), load_encoder(bundle / "encoder")(pixels), atol=1e-6, rtol=1e-5)
