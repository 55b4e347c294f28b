"""A synthetic video of two people, and its FACE rows in a Parquet file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core import schema
from abaw_ray.faces.chips import encode_jpeg
from abaw_ray.media.write import write_video

SIZE = (160, 120)
STATE = {".": None, "D": "detected", "F": "followed", "I": "interpolated"}


def face_rows(name, states, times, *, first=1, box=(20, 30, 60, 80), chips=True):
    """Rows of one track; ``states`` has a letter per frame, ``.`` where it is not seen. The gray level of a chip is its frame's number."""
    rows = []
    for at, letter in enumerate(states):
        seen, frame = letter != ".", first + at
        rows.append(
            {
                "video": "v.mp4",
                "track": name,
                "frame": frame,
                "time": times[frame - 1],
                "shot": 0,
                "seen": seen,
                "source": STATE[letter],
                "box": list(box) if seen else None,
                "score": 0.9 if letter in "DF" else None,
                "landmarks": None,
                "chip": encode_jpeg(np.full((40, 40, 3), frame, np.uint8), 95) if seen and chips else None,
                "chip_scale": 1.0 if seen else None,
                "inside": 1.0 if seen else None,
            }
        )
    return rows


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.FACE), path, row_group_size=16)
    return path


@pytest.fixture
def times():
    """Times in seconds of forty frames at a variable rate, from 0.2 s on."""
    return 0.2 + np.cumsum(np.random.default_rng(3).uniform(1 / 60, 1 / 10, 40))


@pytest.fixture
def rows_file(tmp_path, times):
    """Path of the rows: the main subject has two gaps, and a second person is seen in six frames."""
    main = face_rows("main", "DIIFIIF....DIIIIFIIF.FIIIIFIIIIDIIIIFIID", times)
    return write_rows(tmp_path / "output.parquet", main + face_rows("person-2", "DIIIIF", times, first=12, box=(100, 20, 130, 60)))


@pytest.fixture
def video(tmp_path, times):
    """Path of the video: the gray level of a frame is four times its number, the box of the main subject is red."""
    images = []
    for number in range(1, len(times) + 1):
        image = np.full((SIZE[1], SIZE[0], 3), 4 * number, np.uint8)
        image[30:80, 20:60] = (200, 2 * number, 30)
        images.append(image)
    audio = np.sin(np.arange(int(16000 * (times[-1] - 0.5))) / 8).astype(np.float32)
    write_video(tmp_path / "v.mp4", images, times, audio, audio_start=0.5, crf=10, preset="ultrafast")
    return str(tmp_path / "v.mp4")
