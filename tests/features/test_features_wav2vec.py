import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Model

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.features.config import RandomWav2VecConfig, SpeechConfig
from abaw_ray.features.speech import SpeechFeatures
from abaw_ray.features.speech_weights import check_weights, weights_identity, weights_source
from abaw_ray.features.wav2vec import Wav2Vec, build_random
from abaw_ray.media.audio import Audio

CPU = torch.device("cpu")
SMALL = RandomWav2VecConfig(conv_dim=16, hidden_size=32, num_hidden_layers=1)


def source(weights):
    return weights_source(SpeechConfig(weights=weights))


def test_the_model_of_a_folder_has_its_weights(published):
    wav = Wav2Vec(source(str(published)), SMALL, CPU)
    sound = np.random.default_rng(0).normal(size=(2, 16_000)).astype(np.float32)
    with torch.inference_mode():
        expected = Wav2Vec2Model.from_pretrained(published).eval()(torch.from_numpy(sound)).last_hidden_state
    assert torch.equal(wav.states(sound, -1), expected)
    assert (wav.dim, wav.layers, wav.stride, wav.receptive_field) == (32, 2, 320, 400)


def test_features_of_the_published_architecture_in_both_modes(published, speech):
    times = np.arange(0.1, 10, 0.7)
    for mode in ("context", "windows"):
        vectors, heard = SpeechFeatures(SpeechConfig(weights=str(published), mode=mode, chunk_s=6.0, margin_s=1.0))(speech, times)
        assert heard.all() and vectors.shape == (len(times), 32)
        assert vectors.astype(np.float32).std(axis=0).mean() > 0.01


def test_samples_are_not_normalized_where_the_preprocessor_settings_disable_it(published, speech, tmp_path):
    shutil.copytree(published, tmp_path / "plain")
    (tmp_path / "plain" / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    wav = Wav2Vec(source(str(tmp_path / "plain")), SMALL, CPU)
    assert not wav.normalize and Wav2Vec(source(str(published)), SMALL, CPU).normalize
    features = SpeechFeatures(SpeechConfig(weights=str(tmp_path / "plain")))
    inputs = []
    features.model.states = lambda sound, layer: (inputs.append(sound), wav.states(sound, layer))[1]
    features(speech, np.array([3.0]))
    np.testing.assert_allclose(inputs[0][0], speech.samples, atol=1e-6)


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_the_receptive_field_of_a_state_is_centered_on_its_position(norm):
    wav = Wav2Vec(source("random"), RandomWav2VecConfig(conv_dim=16, hidden_size=32, num_hidden_layers=1, feat_extract_norm=norm), CPU)
    centers = wav.centers(8000)
    extractor = wav.model.feature_extractor
    assert extractor(torch.zeros(1, 8000)).shape[2] == len(centers)
    assert len(wav.centers(wav.receptive_field)) == 1 and len(wav.centers(wav.receptive_field - 1)) == 0
    if norm == "layer":
        sound = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
        sound.requires_grad_(True)
        extractor.requires_grad_(False)
        for number in (0, 7, len(centers) - 1):
            (slope,) = torch.autograd.grad(extractor(sound)[0, :, number].sum(), sound)
            seen = torch.nonzero(slope[0])[:, 0].numpy()
            assert seen.min() >= centers[number] - (wav.receptive_field - 1) / 2
            assert seen.max() <= centers[number] + (wav.receptive_field - 1) / 2
            assert seen.max() - seen.min() > 0.95 * (wav.receptive_field - 1)


def test_random_weights_depend_on_their_seed_only_and_leave_the_global_random_state_unchanged():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one = build_random(SMALL).state_dict()
    assert torch.equal(torch.rand(2), expected)
    two, other = build_random(SMALL).state_dict(), build_random(replace(SMALL, seed=1)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_random_model_separates_tones_of_different_pitch_and_timbre():
    """Tones of different pitch or overtones are farther apart than two renderings of the same tone."""
    features = SpeechFeatures(SpeechConfig(weights="random", pooling="mean_std"))
    time = np.arange(2 * 16_000) / 16_000

    def vector(pitch, tilt, phase):
        rng = np.random.default_rng(phase)
        sound = sum(k**-tilt * np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) for k in range(1, 12)) + 0.02 * rng.normal(size=len(time))
        return features(Audio(sound.astype(np.float32), 0.0), np.array([1.0]))[0][0].astype(np.float32)

    def distance(one, two):
        return np.linalg.norm(one - two)

    same = distance(vector(140, 1.2, 0), vector(140, 1.2, 1))
    assert distance(vector(140, 1.2, 0), vector(200, 1.2, 2)) > 2 * same
    assert distance(vector(140, 1.2, 0), vector(140, 0.6, 3)) > 2 * same


def test_a_repository_on_the_model_hub_is_loaded_by_its_name(published, model_hub):
    model_hub.files |= {path.name: path.read_bytes() for path in published.iterdir()}
    wav = Wav2Vec(source("owner/speech"), SMALL, CPU)
    assert torch.equal(wav.model.encoder.layer_norm.bias, Wav2Vec2Model.from_pretrained(published).encoder.layer_norm.bias)
    assert "GET /owner/speech/resolve/main/model.safetensors" in model_hub.requests


def test_a_hub_without_network_gives_a_one_line_error_that_suggests_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as error:
        Wav2Vec(source("owner/speech"), SMALL, CPU)
    assert "a folder with a Wav2Vec 2.0 model" in str(error.value) and "\n" not in str(error.value)


def test_folders_without_a_complete_model_give_a_one_line_error(published, tmp_path, encoder_folder):
    (tmp_path / "empty").mkdir()
    shutil.copytree(published, tmp_path / "cut")
    whole = (published / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    for folder in (tmp_path / "empty", tmp_path / "cut", encoder_folder):
        with pytest.raises((ConfigError, DataError), match=r"features\.speech\.weights=") as error:
            Wav2Vec(source(str(folder)), SMALL, CPU)
        assert "\n" not in str(error.value)


def test_a_folder_that_lacks_weights_is_refused_instead_of_using_random_ones(published, tmp_path):
    shutil.copytree(published, tmp_path / "part")
    weights = load_file(published / "model.safetensors")
    save_file({name: value for name, value in weights.items() if "layers.1" not in name}, tmp_path / "part" / "model.safetensors")
    with pytest.raises(DataError, match="weights are missing"):
        Wav2Vec(source(str(tmp_path / "part")), SMALL, CPU)


def test_the_identity_of_weights_is_their_content_not_their_path(published, tmp_path):
    shutil.copytree(published, tmp_path / "copy")
    assert weights_identity(source(str(published))) == weights_identity(source(str(tmp_path / "copy")))
    assert weights_identity(source("random")) == "random"
    assert weights_identity(source("facebook/wav2vec2-base-960h")) == "facebook/wav2vec2-base-960h"
    data = bytearray((tmp_path / "copy" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "copy" / "model.safetensors").write_bytes(data)
    assert weights_identity(source(str(published))) != weights_identity(source(str(tmp_path / "copy")))
    with pytest.raises(ConfigError, match=r"is a folder without config\.json"):
        weights_identity(source(str(tmp_path)))


def test_layers_that_the_model_lacks_are_refused_before_it_is_loaded(published):
    storage = StorageConfig()
    for weights, layer in ((str(published), (1, 2)), ("random", (0, -1))):
        check_weights(SpeechConfig(weights=weights, layer=layer), storage)
        with pytest.raises(ConfigError, match=r"speech\.layer=\(1, 3\): the model has layers 0 to 2, or mean"):
            check_weights(SpeechConfig(weights=weights, layer=(1, 3)), storage)


def test_a_model_in_an_object_store_is_downloaded_with_the_settings_of_the_store(published, object_store, monkeypatch):
    object_store.create_bucket(Bucket="models")
    for path in published.iterdir():
        object_store.upload_file(str(path), "models", f"speech/{path.name}")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    remote = weights_source(SpeechConfig(weights="s3://models/speech"), StorageConfig(endpoint=object_store.meta.endpoint_url))
    wav = Wav2Vec(remote, SMALL, CPU)
    assert torch.equal(wav.model.encoder.layer_norm.bias, Wav2Vec2Model.from_pretrained(published).encoder.layer_norm.bias)
    assert weights_identity(remote) == weights_identity(source(str(published)))


@pytest.mark.parametrize("wrong", [{"conv_kernel": (10, 8)}, {"hidden_size": 20}, {"conv_dim": 0}])
def test_sizes_that_cannot_be_built_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"speech\.random"):
        RandomWav2VecConfig(**wrong)
