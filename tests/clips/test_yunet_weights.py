"""YuNet's real weights: a network built from bytes detects the same faces as one built from the file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from abaw_ray.faces.config import DetectorConfig
from abaw_ray.faces.detection.detect import make_detector
from abaw_ray.faces.detection.weights import yunet_weights
from abaw_ray.media.video import decode

pytestmark = pytest.mark.clips


def test_a_network_built_from_bytes_gives_the_boxes_of_one_built_from_the_file(clips, weights_file):
    data = yunet_weights(weights_file)
    assert data == Path(weights_file).read_bytes()
    config = DetectorConfig(weights="not read")
    from_bytes, compared = make_detector(config, data), 0
    for frame in decode(str(clips / "single_face.mp4")):
        if frame.number % 10:
            continue
        rgb = frame.resized(320, 192)
        from_file = cv2.FaceDetectorYN.create(weights_file, "", (320, 192), config.keep_score, 0.4, 100)
        rows = from_file.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1]
        faces = from_bytes(rgb, 0.0)
        np.testing.assert_array_equal([face.score for face in faces], rows[:, 14])
        np.testing.assert_allclose([face.box for face in faces], np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), atol=1e-4)
        compared += len(faces)
    assert compared >= 5
