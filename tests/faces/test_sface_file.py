"""SFace's weights are found and verified as those of YuNet are (``test_yunet_file.py``); here what differs."""

import hashlib

import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.identity import sface_weights as module
from abaw_ray.faces.identity.config import SFACE_HUB, PeopleConfig
from abaw_ray.faces.identity.sface_weights import SFACE_FILE, sface_weights

GOOD = b"the expected network"
DIGEST = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture(autouse=True)
def cached(tmp_path, monkeypatch):
    """An empty cache of the package, and ``GOOD`` as the expected file; returns the path of the cached file."""
    monkeypatch.setenv("ABAW_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "SFACE_SHA256", DIGEST)
    return tmp_path / "cache" / f"{DIGEST}.onnx"


def test_a_local_file_is_read_and_another_one_is_refused(tmp_path):
    (tmp_path / "sface.onnx").write_bytes(GOOD)
    (tmp_path / "other.onnx").write_bytes(b"another network")
    assert sface_weights(str(tmp_path / "sface.onnx")) == GOOD
    with pytest.raises(ConfigError, match=r"faces.people.weights=.*other.onnx: is another file, .*to the path of face_recog.* or to none"):
        sface_weights(str(tmp_path / "other.onnx"))
    with pytest.raises(ConfigError, match="faces.people.weights=random: this network needs its pretrained weights"):
        sface_weights("random")


@pytest.mark.parametrize("where", ["hub", SFACE_HUB])
def test_the_hub_is_requested_once(model_hub, cached, where):
    model_hub.files[SFACE_FILE] = GOOD
    assert sface_weights(where) == GOOD == cached.read_bytes()
    assert f"GET /{SFACE_HUB}/resolve/main/{SFACE_FILE}" in model_hub.requests
    model_hub.status = 500
    assert sface_weights(where) == GOOD


def test_missing_weights_are_an_error_without_a_fallback():
    config = FacesConfig(detector=DetectorConfig(weights="not read"), people=PeopleConfig(weights="/nowhere/sface.onnx"))
    with pytest.raises(ConfigError, match="faces.people.weights=/nowhere/sface.onnx: there is no such file"):
        CropFaces(config, weights=b"given")
