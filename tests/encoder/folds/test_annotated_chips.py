"""Chips of annotated frames as images: what a training view shows of them is what the frame showed."""

import cv2
import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import ENCODER_CLASSES, EXPRESSIONS
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.augmentation.view import center_crop
from abaw_ray.encoder.config import IngestConfig
from abaw_ray.encoder.folds.chips import AnnotatedChips
from abaw_ray.encoder.folds.config import FoldEncodersConfig
from abaw_ray.encoder.images import open_image_set
from abaw_ray.encoder.ingest import crop_face
from abaw_ray.faces.config import ChipConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.face_row import face_columns

CHIPS = ChipConfig(scales=(1.0, 1.3, 1.7), size=112, quality=100)


def smooth_picture(height=300, width=400):
    """A picture whose JPEG hardly differs from it; never black."""
    small = np.random.default_rng(0).integers(60, 256, (8, 10, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def face_rows(boxes, track="7_left", picture=None):
    """FACE rows of one subject, with a face where there is a box."""
    picture, rows = smooth_picture() if picture is None else picture, []
    for number, box in enumerate(boxes, start=1):
        columns = {"video": "7", "track": track, "frame": number, "time": number / 10, "seen": box is not None}
        if box is not None:
            corners = np.array(box, dtype=float)
            landmarks = corners[:2] + np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.5], [0.3, 0.8], [0.7, 0.8]]) * (corners[2:] - corners[:2])
            columns |= face_columns(picture, Face(corners, 0.9, landmarks), CHIPS)
        rows.append(columns)
    return pa.Table.from_pylist(rows, schema=schema.FACE)


def chips_of(interval_s=0.0, classes=ENCODER_CLASSES):
    return AnnotatedChips(FoldEncodersConfig(interval_s=interval_s), CHIPS, classes)


@pytest.mark.parametrize("box", [(150, 100, 210, 180), (150.3, 100.7, 171.2, 130.9), (3, 4, 90, 100), (100, 60, 300, 290)])
def test_a_chip_has_the_scale_and_the_box_that_the_same_face_has_as_a_still_image(box):
    faces = face_rows([box])
    (row,) = chips_of().images(faces, np.array([1], np.int8)).to_pylist()
    still = crop_face(smooth_picture(), np.array(faces["box"][0].as_py()), None, IngestConfig(scale=1.7, max_side=CHIPS.max_side))
    x0, y0, x1, y1 = row["box"]
    side = cv2.imdecode(np.frombuffer(row["jpeg"], np.uint8), cv2.IMREAD_COLOR).shape[0]
    assert side / max(x1 - x0, y1 - y0) == pytest.approx(row["scale"], rel=1e-5)
    assert row["scale"] == pytest.approx(1.7, abs=1 / (box[3] - box[1]))
    assert 0 < row["inside"] <= 1 and row["no_face"] is None
    if still.inside == 1:  # else the still image's square ends where the picture does
        assert row["scale"] == pytest.approx(still.scale) and row["box"] == pytest.approx(still.box, abs=1e-3)
    nose = np.array(row["landmarks"]).reshape(5, 2)[2]
    np.testing.assert_allclose(nose, [(x0 + x1) / 2, (y0 + y1) / 2], atol=1e-3)


def test_a_training_view_of_a_chip_shows_the_face_box_of_the_frame(tmp_path):
    box, picture = (150, 100, 230, 180), smooth_picture()
    storage = Storage(StorageConfig(uri=str(tmp_path / "store")))
    storage.write_table("a.parquet", chips_of().images(face_rows([box]), np.array([1], np.int8)))
    images = open_image_set(storage, ["a.parquet"], tmp_path)
    view = center_crop(images.pixels(0), size=80, stored_scale=float(images.scale[0]), scale=1.0, face=images.face(0))
    expected = picture[100:180, 150:230].astype(float)  # the channels' order is the caller's
    assert np.abs(view.astype(float) - expected).mean() < 3


def test_only_labelled_frames_with_a_face_are_selected_each_once_per_interval_and_never_more_than_the_quota():
    faces = face_rows([(150, 100, 210, 180)] * 12 + [None] * 4 + [(150, 100, 210, 180)] * 4)
    labels = np.array([4] * 8 + [-1] * 2 + [7] * 2 + [4] * 4 + [2] * 4, np.int8)
    index = faces.select(["frame", "time", "chip_scale"])
    selected = chips_of(interval_s=0.3).select(index, labels, {"Happiness": 5, "Disgust": 1})
    assert (np.flatnonzero(selected) + 1).tolist() == [1, 4, 7, 20]
    rows = chips_of().images(faces.filter(pa.array(selected)), labels)
    assert rows.schema.equals(schema.ANNOTATED_IMAGE)
    assert rows["label"].to_pylist() == [ENCODER_CLASSES.index("Happiness")] * 3 + [ENCODER_CLASSES.index("Disgust")]
    assert set(rows["subject"].to_pylist()) == {"7_left"} and set(rows["split"].to_pylist()) == {"train"}
    assert rows["image"].to_pylist() == ["7_left/00001", "7_left/00004", "7_left/00007", "7_left/00020"]


def test_an_index_of_the_encoder_is_that_of_the_name_and_not_of_the_annotation():
    classes = ("Other", *EXPRESSIONS[:7])
    rows = chips_of(classes=classes).images(face_rows([(150, 100, 210, 180)] * 2), np.array([7, 0], np.int8))
    assert [classes[label] for label in rows["label"].to_pylist()] == ["Other", "Neutral"]


def test_an_annotation_of_another_video_is_refused():
    index = face_rows([None] * 4).select(["frame", "time", "chip_scale"])
    with pytest.raises(DataError, match="9 annotation rows for 4 decoded frames"):
        chips_of().select(index, np.zeros(9, np.int8), {"Neutral": 1})
