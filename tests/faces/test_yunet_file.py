import hashlib

import huggingface_hub.constants as hub_settings
import pytest
from model_hub import set_hub_address

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import YUNET_HUB
from abaw_ray.faces.detection import weights
from abaw_ray.faces.detection.weights import YUNET_FILE, cache_folder, yunet_weights

GOOD = b"the expected network"


@pytest.fixture(autouse=True)
def cached(tmp_path, monkeypatch):
    """An empty cache of the package, and ``GOOD`` as the expected file; returns the path of the cached file."""
    monkeypatch.setenv("ABAW_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "YUNET_SHA256", hashlib.sha256(GOOD).hexdigest())
    return tmp_path / "cache" / f"{hashlib.sha256(GOOD).hexdigest()}.onnx"


@pytest.fixture
def hub(model_hub):
    """A model hub with ``GOOD`` as YuNet's file."""
    model_hub.files[YUNET_FILE] = GOOD
    return model_hub


@pytest.fixture
def store(object_store):
    """boto3 client of an S3 server on loopback with the bucket ``models``."""
    object_store.create_bucket(Bucket="models")
    return object_store


def refused(where):
    with pytest.raises(ConfigError) as caught:
        yunet_weights(where)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(f"set faces.detector.weights to the path of {YUNET_FILE} (SHA-256 8f2383e4dd3c...), or use --detector haar")
    return message


def test_a_local_file_is_read_directly(tmp_path, cached):
    (tmp_path / "yunet.onnx").write_bytes(GOOD)
    assert yunet_weights(str(tmp_path / "yunet.onnx")) == yunet_weights(f"file://{tmp_path}/yunet.onnx") == GOOD
    assert not cached.exists()


def test_a_local_path_that_is_not_the_file_is_refused_without_a_fallback(tmp_path, cached, hub):
    cached.parent.mkdir()
    cached.write_bytes(GOOD)
    (tmp_path / "other.onnx").write_bytes(b"another network")
    assert "other.onnx: is another file, its SHA-256 is" in refused(str(tmp_path / "other.onnx"))
    assert "is a folder" in refused(str(tmp_path))
    assert "nowhere.onnx: there is no such file or folder" in refused("nowhere.onnx")
    assert "there is no such file" in refused("models/nowhere.onnx")
    assert hub.requests == []


@pytest.mark.parametrize("where", ["hub", YUNET_HUB, "another/owner"])
def test_the_hub_is_requested_once_and_then_the_cached_file_is_used_for_every_name(hub, cached, where):
    assert yunet_weights(where) == GOOD == cached.read_bytes()
    count = len(hub.requests)
    assert f"GET /{YUNET_HUB if where == 'hub' else where}/resolve/main/{YUNET_FILE}" in hub.requests
    hub.status = 500
    assert yunet_weights(where) == yunet_weights("another/name") == yunet_weights("s3://no-such-bucket/yunet.onnx") == GOOD
    assert len(hub.requests) == count


def test_a_damaged_cached_file_is_fetched_again(hub, cached):
    cached.parent.mkdir()
    cached.write_bytes(GOOD[:-1])
    assert yunet_weights("hub") == GOOD == cached.read_bytes()
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]


def test_a_file_in_the_cache_of_the_hubs_client_is_used_without_network(hub, cached):
    yunet_weights("hub")
    cached.unlink()
    hub.requests.clear()
    assert yunet_weights("hub") == GOOD
    assert hub.requests == []


def test_a_hub_that_returns_an_error_is_requested_once(hub, cached):
    hub.status = 503
    assert f"faces.detector.weights=hub: {YUNET_HUB} not available from the model hub (" in refused("hub")
    assert len([line for line in hub.requests if YUNET_FILE in line]) == 1 and not cached.exists()


def test_another_file_from_the_hub_is_refused_and_not_cached(hub, cached):
    hub.files[YUNET_FILE] = b"a newer network"
    assert "is another file" in refused("hub")
    assert not cached.exists()


def test_the_error_names_a_lack_of_network_access(monkeypatch, hub):
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused("hub")
    assert hub.requests == []
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", False)
    set_hub_address(monkeypatch, "http://127.0.0.1:9")  # no server listens there
    assert "refused" in refused("hub")


def test_an_object_store_is_read_once(store, cached):
    store.put_object(Bucket="models", Key="faces/yunet.onnx", Body=GOOD)
    assert "there is no such file" in refused("s3://models/gone.onnx")
    assert yunet_weights("s3://models/faces/yunet.onnx") == GOOD == cached.read_bytes()
    store.delete_object(Bucket="models", Key="faces/yunet.onnx")
    assert yunet_weights("s3://models/faces/yunet.onnx") == GOOD


def test_an_unwritable_cache_folder_is_reported_and_the_weights_are_used(hub, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ABAW_RAY_CACHE", str(tmp_path / "file" / "cache"))
    assert yunet_weights("hub") == GOOD
    assert "cannot be cached there" in capsys.readouterr().out


def test_the_cache_folder_follows_the_usual_environment_variables(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ABAW_RAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "shared" / "abaw_ray"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "abaw_ray"
