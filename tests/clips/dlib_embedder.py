"""An embedder of real faces whose weights come in a package: dlib's ResNet, behind the interface of ``FaceEmbedder``, for tests on real clips."""

from importlib.util import find_spec
from pathlib import Path

import dlib
import numpy as np

from abaw_ray.faces.identity.embedder import SimilarityThresholds

_CHIP_SIZE, _CHIP_PADDING = 150, 0.25
"""What dlib's network was trained on."""
_BOX_SCALE = 2.3
"""Side of a box as dlib's detector gives it, in units of the distance of eyes or of eyes and mouth."""


class DlibEmbedder:
    """Aligns by dlib's own five points, which it finds in a box around YuNet's."""

    thresholds = SimilarityThresholds(same=0.91, different=0.89)
    """All its vectors are similar. Mean similarities on the clips of these tests, of two known people and a few others: one person 0.915 to 1.00, two
    people 0.82 to 0.90. The thresholds were chosen on these clips, so the tests on them say little about other people."""

    def __init__(self):
        # the package is not imported: its module needs an old setuptools at run time, and only its files are of use
        models = Path(find_spec("face_recognition_models").submodule_search_locations[0]) / "models"
        self.points = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
        self.network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def __call__(self, rgb, landmarks):
        """Return the unit vector of one face."""
        eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
        size = max(np.linalg.norm(landmarks[1] - landmarks[0]), np.linalg.norm(mouth - eyes))
        left, top = np.round((eyes + mouth) / 2 - size * _BOX_SCALE / 2).astype(int).tolist()
        side, rgb = round(float(size * _BOX_SCALE)), np.ascontiguousarray(rgb)
        points = self.points(rgb, dlib.rectangle(left, top, left + side, top + side))
        chip = dlib.get_face_chip(rgb, points, size=_CHIP_SIZE, padding=_CHIP_PADDING)
        vector = np.array(self.network.compute_face_descriptor(chip), np.float32)
        return vector / np.linalg.norm(vector)
