"""YuNet on still images cut from clips: tight crops of a face are found, with the size that the face has in the video."""

import cv2
import numpy as np
import pytest

from abaw_ray.encoder.config import IngestConfig
from abaw_ray.encoder.ingest import IngestImages
from abaw_ray.faces.config import DetectorConfig, WindowConfig
from abaw_ray.faces.detection.detect import make_detector
from abaw_ray.faces.detection.frame_detector import FrameDetector
from abaw_ray.faces.detection.still_detector import StillDetector
from abaw_ray.media.video import decode

pytestmark = pytest.mark.clips


@pytest.fixture(scope="module")
def detector(weights_file):
    config = DetectorConfig(weights=weights_file)
    return make_detector(config), config


@pytest.fixture(scope="module")
def faces(clips, detector):
    """Frames with the longer side of the box that the detector gives on the whole frame, and its center."""
    search, found = FrameDetector(*detector, WindowConfig()).search, []
    for frame in decode(str(clips / "single_face.mp4")):
        if frame.number % 12 == 1 and (boxes := [face.box for face in search(frame) if face.score > 0.7]):
            box = boxes[0]
            found.append((frame.rgb(), float(max(box[2:] - box[:2])), (box[:2] + box[2:]) / 2))
    assert len(found) >= 4
    return found


@pytest.mark.parametrize("extent", [1.15, 1.3, 1.6, 2.5])
@pytest.mark.parametrize("side", [48, 112, 224])
def test_a_face_in_a_crop_has_the_size_that_it_has_in_the_video(detector, faces, extent, side):
    ingest, ratios = IngestImages(IngestConfig(), StillDetector(*detector)), []
    for rgb, longer, center in faces:
        half = longer * extent / 2
        (x0, y0), (x1, y1) = np.maximum(np.round(center - half), 0).astype(int), np.round(center + half).astype(int)
        crop = cv2.cvtColor(rgb[y0:y1, x0:x1], cv2.COLOR_RGB2BGR)
        scale = side / max(crop.shape[:2])
        crop = cv2.resize(crop, (round(crop.shape[1] * scale), round(crop.shape[0] * scale)), interpolation=cv2.INTER_AREA)
        stored = ingest.crop(crop, None)
        assert stored.no_face is None and stored.scale < 2.05
        ratios.append(len(stored.image) / stored.scale / (longer * scale))
    assert 0.85 < np.median(ratios) < 1.1
    assert max(abs(np.log(ratios))) < 0.25
