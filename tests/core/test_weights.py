from pathlib import Path

import huggingface_hub.constants as hub_settings
import pytest

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource


def source(value, **options):
    return WeightsSource(setting="model.weights", value=value, repository="owner/own", **options)


def content(value, *names, **options):
    with source(value, **options).local_file(*names) as path:
        return path.read_bytes()


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files of weights below the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.bin").write_bytes(b"in the folder")
    (tmp_path / "vit.pt").write_bytes(b"a file")
    return tmp_path


def test_each_form_of_the_value_selects_its_source(files, model_hub):
    model_hub.files["model.bin"] = b"on the hub"
    forms = {
        "vit.pt": b"a file",
        f"{files}/vit.pt": b"a file",
        f"file://{files}/vit.pt": b"a file",
        "folder": b"in the folder",
        "folder/": b"in the folder",
        "hub": b"on the hub",
        "owner/name": b"on the hub",
    }
    assert {form: content(form, "model.safetensors", "model.bin") for form in forms} == forms
    for form in (*forms, "random"):
        source(form).check("model.safetensors", "model.bin")
    assert source("random").is_random and not source("vit.pt").is_random
    paths = {request.split("/resolve/")[0] for request in model_hub.requests if "/resolve/" in request}
    assert paths == {f"{verb} /{name}" for verb in ("HEAD", "GET") for name in ("owner/own", "owner/name")}


def test_an_existing_path_or_the_name_of_a_file_is_never_taken_for_a_repository(files, model_hub):
    (files / "owner").mkdir()
    (files / "owner" / "name").write_bytes(b"local")
    assert content("owner/name", "model.bin") == b"local"
    with pytest.raises(ConfigError, match=r"^model\.weights=models/vit\.pt: there is no such file or folder; give the path"):
        source("models/vit.pt").check("model.bin")
    with pytest.raises(ConfigError, match=r"^model\.weights=folder: is a folder without a\.bin or b\.bin; "):
        content("folder", "a.bin", "b.bin")
    assert model_hub.requests == []


def test_a_model_without_a_repository_of_its_own_cannot_come_from_the_hub():
    with pytest.raises(ConfigError, match=r"^model\.weights=hub: the model hub has no weights of this model; "):
        WeightsSource(setting="model.weights", value="hub").check("model.bin")


def test_a_check_downloads_nothing_and_a_download_is_kept(model_hub):
    model_hub.files["model.bin"] = b"on the hub"
    source("hub").check("model.safetensors", "model.bin")
    assert all(request.startswith("HEAD") for request in model_hub.requests)
    assert content("hub", "model.bin") == b"on the hub"
    model_hub.requests.clear()
    source("hub").check("model.safetensors", "model.bin")
    assert model_hub.requests == []


def test_a_repository_without_the_file_and_a_hub_that_fails_are_named(model_hub, monkeypatch):
    with pytest.raises(ConfigError, match=r"^model\.weights=hub: the repository owner/own on the model hub has no model\.bin; "):
        source("hub").check("model.bin")
    model_hub.status = 503
    with pytest.raises(ConfigError, match=r"^model\.weights=a/b: no local path, and not available from the model hub \(.*503.*\); give the path"):
        source("a/b").check("model.bin")
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"^model\.weights=hub: owner/own not available from the model hub \(HF_HUB_OFFLINE forbids"):
        content("hub", "model.bin")


def test_files_and_folders_in_an_object_store_use_its_settings(object_store, monkeypatch):
    """The endpoint is in the settings only, not in the environment."""
    storage = StorageConfig(endpoint=object_store.meta.endpoint_url, attempts=1)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    object_store.create_bucket(Bucket="models")
    for key, body in {"vit.pt": b"a file", "speech/config.json": b"{}", "speech/model.safetensors": b"weights", "speech/notes.txt": b"-"}.items():
        object_store.put_object(Bucket="models", Key=key, Body=body)
    assert content("s3://models/vit.pt", "model.bin", storage=storage) == b"a file"
    with source("s3://models/speech", storage=storage).local_folder("config.json") as folder:
        assert sorted(path.name for path in Path(folder).iterdir()) == ["config.json", "model.safetensors"]
    with pytest.raises(ConfigError, match=r"^model\.weights=s3://models: is a folder without model\.bin; "):
        source("s3://models", storage=storage).check("model.bin")
    with pytest.raises(ConfigError, match=r"^model\.weights=s3://models/gone: there is no such file or folder; "):
        source("s3://models/gone", storage=storage).check("model.bin")


def test_a_store_that_cannot_be_reached_is_a_storage_error_with_the_name_of_the_setting(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with pytest.raises(StorageError, match=r"^model\.weights=s3://models/vit\.pt: "):
        source("s3://models/vit.pt", storage=StorageConfig(endpoint="http://127.0.0.1:1", attempts=1)).check("model.bin")
