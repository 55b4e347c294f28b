"""Faces of still images: rows and chips as those of a video that holds the image as its only frame."""

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from abaw_ray.core import schema
from abaw_ray.core.errors import ItemError, MissingError
from abaw_ray.core.process.child_process import ChildLimits
from abaw_ray.faces.config import ChipConfig, DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.isolated import IsolatedFaceWriter
from abaw_ray.faces.still_faces import crop_still

CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=192))


@pytest.fixture
def write(tmp_path):
    """A function that saves an image; returns its ``VIDEO`` row."""

    def save(rgb, name="image.png"):
        Image.fromarray(rgb).save(tmp_path / name)
        return {"video": name, "uri": str(tmp_path / name), "subjects": []}

    return save


def lossless_video(path, rgb):
    """A video of one frame with exactly these pixels."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = rgb.shape[1], rgb.shape[0], "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def test_each_face_is_a_person_the_largest_is_the_main_one(detector, render, write):
    image = write(render((40, 40, 20), (140, 60, 50), (60, 110, 30)))
    table = crop_still(CropFaces(CONFIG, detector), image)
    assert table.schema == schema.FACE
    rows = table.to_pylist()
    assert [row["track"] for row in rows] == ["main", "person-2", "person-3"]
    assert [row["box"][2] - row["box"][0] for row in rows] == [50, 30, 20]
    assert {(row["video"], row["frame"], row["time"], row["seen"], row["source"]) for row in rows} == {("image.png", 1, 0.0, True, "detected")}


def test_an_image_without_a_face_has_one_row_that_is_not_seen(detector, render, write):
    weak = (96, 60, 40, 0.6)  # the detector's score is below ``min_score``
    for image in (write(render()), write(render(weak), "weak.png")):
        rows = crop_still(CropFaces(CONFIG, detector), image).to_pylist()
        assert [(row["track"], row["frame"], row["time"], row["seen"], row["box"], row["chip"]) for row in rows] == [
            ("main", 1, 0.0, False, None, None)
        ]


@pytest.mark.parametrize("square", [(96, 70, 40), (96, 70, 33), (5, 70, 40), (180, 140, 60)])
@pytest.mark.parametrize("chips", [ChipConfig(), ChipConfig(size=16)])
def test_rows_and_chips_equal_those_of_a_lossless_video_bit_for_bit(tmp_path, detector, render, write, square, chips):
    rgb = render(square)
    rgb += np.random.default_rng(0).integers(0, 20, rgb.shape, dtype=np.uint8)
    crop = CropFaces(FacesConfig(detector=CONFIG.detector, chips=chips), detector)
    still = crop_still(crop, write(rgb)).to_pylist()
    video = [
        row for table in crop({"video": "image.png", "uri": lossless_video(tmp_path / "v.mov", rgb), "subjects": []}) for row in table.to_pylist()
    ]
    assert still == video and still[0]["seen"] and len(still[0]["chip"]) > 100


def test_the_users_own_boxes_are_used_with_their_names(tmp_path, write, render):
    lines = ["video,frame,x0,y0,x1,y1,track", "image.png,1,10,10,30,30,anna", "image.png,1,60,20,110,70,ben", "other.png,1,0,0,9,9,carl"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    crop = CropFaces(FacesConfig(detector=DetectorConfig(kind="given", boxes=str(tmp_path / "boxes.csv"))))
    rows = crop_still(crop, write(render())).to_pylist()
    assert [(row["track"], row["box"], row["source"]) for row in rows] == [("ben", [60, 20, 110, 70], "given"), ("anna", [10, 10, 30, 30], "given")]


def test_images_that_cannot_be_read_are_item_errors(tmp_path, detector):
    (tmp_path / "text.png").write_text("no image")
    crop = CropFaces(CONFIG, detector)
    with pytest.raises(ItemError, match="not an image"):
        crop_still(crop, {"video": "text.png", "uri": str(tmp_path / "text.png"), "subjects": []})
    with pytest.raises(MissingError):
        crop_still(crop, {"video": "gone.png", "uri": str(tmp_path / "gone.png"), "subjects": []})


@pytest.mark.slow
def test_a_child_process_writes_the_rows_of_an_image(tmp_path, write, render):
    writer = IsolatedFaceWriter(CONFIG, ChildLimits(seconds=60, memory_mb=900))
    try:
        result = writer.write_still(write(render()), tmp_path / "rows.parquet")
        assert (result.rows, result.faces, result.frames, result.error) == (1, 0, 1, None)
        assert pq.read_table(tmp_path / "rows.parquet").schema == schema.FACE
        (tmp_path / "text.png").write_text("no image")
        with pytest.raises(ItemError, match="not an image"):
            writer.write_still({"video": "text.png", "uri": str(tmp_path / "text.png"), "subjects": []}, tmp_path / "text.parquet")
    finally:
        writer.close()
