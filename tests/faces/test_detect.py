import cv2
import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import digest, to_plain
from abaw_ray.faces.boxes import iou
from abaw_ray.faces.config import YUNET_HUB, DetectorConfig
from abaw_ray.faces.detection.detect import HaarDetector, YuNetDetector, make_detector


def shaded_face(center=(150, 110), width=90, size=(320, 240)):
    """A face of shaded ellipses: light oval, dark hair, eye sockets, a bright nose, a dark mouth."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    u, v = (x - center[0]) / (width / 2), (y - center[1]) / (width * 0.65)

    def blob(cx, cy, rx, ry, soft=4.0):
        return 1 / (1 + np.exp(soft * 4 * (np.hypot((u - cx) / rx, (v - cy) / ry) - 1)))

    light = 70 + 20 * x / size[0]
    light = light * (1 - blob(0, -0.25, 1.12, 1.0)) + 35 * blob(0, -0.25, 1.12, 1.0)
    light = light * (1 - blob(0, 0.1, 0.85, 0.95)) + (190 - 25 * u) * blob(0, 0.1, 0.85, 0.95)
    for cx in (-0.38, 0.38):
        light -= 75 * blob(cx, -0.15, 0.27, 0.16, 1.5)
        light -= 60 * blob(cx, -0.35, 0.3, 0.06, 1.5)
        light -= 60 * blob(cx, -0.13, 0.1, 0.08, 2)
    light += 25 * blob(0, 0.12, 0.1, 0.32, 1.0)
    light -= 50 * blob(0, 0.36, 0.2, 0.06, 1.5)
    light -= 75 * blob(0, 0.62, 0.33, 0.09, 1.5)
    light += np.random.default_rng(0).normal(0, 3, light.shape)
    return np.clip(light[..., None] * [1.0, 0.85, 0.75], 0, 255).astype(np.uint8)


def test_haar_detects_a_face_of_shaded_ellipses_and_none_in_an_empty_room():
    haar = make_detector(DetectorConfig(kind="haar"))
    faces = haar(shaded_face(), 30.0)
    assert len(faces) == 1 and faces[0].score > 0.6 and faces[0].landmarks is None
    assert iou(faces[0].box[None], np.array([[105.0, 65, 195, 165]]))[0, 0] > 0.5
    empty = np.clip(np.random.default_rng(0).normal(90, 3, (240, 320, 3)), 0, 255).astype(np.uint8)
    assert haar(empty, 30.0) == []


def test_haar_returns_no_face_below_the_minimum_size():
    assert HaarDetector(0.1)(shaded_face(width=60), 140.0) == []


class FakeNetwork:
    """Replaces OpenCV's network: keeps its input, detects one large and one small face."""

    def __init__(self):
        self.input = None

    def detect(self, image):
        self.input = image
        rows = np.arange(30, dtype=np.float32).reshape(2, 15)
        rows[:, 2:4], rows[:, 14] = [[50, 40], [5, 4]], [0.9, 0.8]
        return 1, rows


def test_yunet_receives_bgr_images_as_in_its_training(monkeypatch):
    network, detector = FakeNetwork(), YuNetDetector(b"", 0.3)
    monkeypatch.setattr(detector, "_network", lambda width, height: network)
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[..., 0] = 200
    faces = detector(rgb, 20.0)
    assert network.input[0, 0].tolist() == [0, 0, 200]
    assert len(faces) == 1, "the small one is below the minimum size"
    np.testing.assert_allclose(faces[0].box, [0, 1, 50, 41])
    np.testing.assert_allclose(faces[0].landmarks[0], [4, 5])
    assert faces[0].score == pytest.approx(0.9)


def test_yunet_is_built_from_given_bytes_without_fetching_weights(monkeypatch):
    class CreateError(Exception):
        """Carries the arguments of OpenCV's constructor, which refuses bytes that are not a network."""

    def create(*args):
        raise CreateError(*args)

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", create)
    monkeypatch.setattr("abaw_ray.faces.detection.detect.yunet_weights", lambda where: pytest.fail(f"{where} was requested"))
    detector = make_detector(DetectorConfig(weights="nowhere.onnx"), b"weights")
    with pytest.raises(CreateError) as created:
        detector(np.zeros((40, 60, 3), np.uint8), 20.0)
    kind, weights, config, size, *_ = created.value.args
    assert (kind, weights.tobytes(), config.tobytes(), size) == ("onnx", b"weights", b"", (64, 64))


def test_without_given_bytes_yunets_weights_are_read_from_the_configured_path(monkeypatch):
    monkeypatch.setattr("abaw_ray.faces.detection.detect.yunet_weights", lambda where: f"those of {where}".encode())
    assert make_detector(DetectorConfig(weights="here.onnx")).weights.tobytes() == b"those of here.onnx"


def test_the_digest_does_not_depend_on_the_path_of_the_weights_but_on_the_kind_of_detector():
    assert DetectorConfig().weights == YUNET_HUB
    assert digest(DetectorConfig(weights="a.onnx")) == digest(DetectorConfig(weights="s3://b/c.onnx"))
    assert digest(DetectorConfig()) != digest(DetectorConfig(kind="haar"))
    assert to_plain(DetectorConfig(weights="a.onnx"))["weights"] == "a.onnx", "the record keeps the path"


def test_opencv_uses_one_thread():
    make_detector(DetectorConfig(kind="haar"))
    assert cv2.getNumThreads() == 1


@pytest.mark.parametrize("wrong", [{"keep_score": 0.9}, {"min_score": 1.0}, {"min_size": 0}, {"width": 10}])
def test_contradictory_detector_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match="detector"):
        DetectorConfig(**wrong)
