import numpy as np
import pyarrow as pa
import pytest
from detector_of_squares import red_squares

from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.write import write_video

ROOM = (60, 70, 80)


@pytest.fixture
def detector():
    return red_squares


@pytest.fixture
def render():
    """A function that draws red squares ``(x, y, side)`` in a room; a fourth number is the detector's uncertainty, 0 to 1."""

    def image(*squares, size=(192, 144), room=ROOM):
        rgb = np.full((size[1], size[0], 3), room, np.uint8)
        rgb[::16, :, 1] += 20  # stripes, so that the cut detector tells two rooms apart
        for x, y, side, *uncertainty in squares:
            x0, y0 = max(int(x - side / 2), 0), max(int(y - side / 2), 0)
            rgb[y0 : max(int(y + side / 2), 0), x0 : max(int(x + side / 2), 0)] = (220, 200 * (uncertainty[0] if uncertainty else 0.05), 30)
        return rgb

    return image


@pytest.fixture
def crop(tmp_path, detector):
    """A function that writes images as a video and crops its faces with the detector of red squares; returns the FACE rows of each track."""

    def run(images, times=None, subjects=(), config=None, name="v.mp4"):
        images = list(images)
        times = np.arange(len(images)) / 25 if times is None else np.asarray(times)
        write_video(tmp_path / name, images, times, None, crf=12, preset="ultrafast")
        config = config or FacesConfig(detector=DetectorConfig(kind="haar", width=192))
        tables = list(CropFaces(config, detector)({"video": "v", "uri": str(tmp_path / name), "subjects": list(subjects)}))
        assert all(len(table) <= 256 for table in tables)
        rows = pa.concat_tables(tables).to_pylist()
        tracks = {row["track"]: [] for row in rows}
        for row in rows:
            tracks[row["track"]].append(row)
        return tracks

    return run
