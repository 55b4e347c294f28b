import numpy as np
import pyarrow as pa
import pytest
from detector_of_squares import red_squares

from abaw_ray.faces.crop import CropFaces, FacesConfig
from abaw_ray.faces.detection.detect import DetectorConfig
from abaw_ray.media.write import write_video

ROOM = (60, 70, 80)


@pytest.fixture
def detector():
    return red_squares


@pytest.fixture
def draw():
    """A picture with red squares: ``draw((x, y, side), ...)``; a fourth number is the doubt, 0 to 1."""

    def picture(*squares, size=(192, 144), room=ROOM):
        rgb = np.full((size[1], size[0], 3), room, np.uint8)
        rgb[::16, :, 1] += 20  # so that one room differs from another when shot boundaries are looked for
        for x, y, side, *doubt in squares:
            x0, y0 = max(int(x - side / 2), 0), max(int(y - side / 2), 0)
            rgb[y0 : max(int(y + side / 2), 0), x0 : max(int(x + side / 2), 0)] = (220, 200 * (doubt[0] if doubt else 0.05), 30)
        return rgb

    return picture


@pytest.fixture
def crop(tmp_path, detector):
    """Write pictures as a video and crop it with the drawn detector; returns the FACE rows of each track."""

    def run(pictures, times=None, subjects=(), config=None, name="v.mp4"):
        pictures = list(pictures)
        times = np.arange(len(pictures)) / 25 if times is None else np.asarray(times)
        write_video(tmp_path / name, pictures, times, None, crf=12, preset="ultrafast")
        config = config or FacesConfig(detector=DetectorConfig(kind="haar", width=192))
        tables = list(CropFaces(config, detector)({"video": "v", "uri": str(tmp_path / name), "subjects": list(subjects)}))
        assert all(len(table) <= 256 for table in tables)
        rows = pa.concat_tables(tables).to_pylist()
        tracks = {row["track"]: [] for row in rows}
        for row in rows:
            tracks[row["track"]].append(row)
        return tracks

    return run
