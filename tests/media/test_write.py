import os
import subprocess
import sys

import av
import numpy as np
import pytest

from abaw_ray.media.write import write_video


def test_the_file_holds_h264_and_aac(video):
    with av.open(video(np.arange(5) / 25, np.zeros(3200, np.float32))) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]


WRITER = """
import sys
import numpy as np
from abaw_ray.media.write import write_video

rng = np.random.default_rng(0)
wall, walk = rng.integers(0, 256, (400, 500, 3), dtype=np.uint8), np.cumsum(rng.integers(0, 4, (40, 2)), axis=0) % 150
write_video(sys.argv[1], [wall[y : y + 240, x : x + 320] // 2 + 40 for y, x in walk], np.arange(40) / 15, np.zeros(16000, np.float32))
"""


def test_the_same_input_gives_the_same_bytes_for_any_content_of_fresh_memory(tmp_path):
    files = []
    for filling in ("1", "77", "200"):  # glibc fills all memory that it allocates
        files.append(tmp_path / f"{filling}.mp4")
        subprocess.run([sys.executable, "-c", WRITER, str(files[-1])], env={**os.environ, "MALLOC_PERTURB_": filling}, check=True)
    assert len({file.read_bytes() for file in files}) == 1 and files[0].stat().st_size > 10_000


@pytest.mark.parametrize("times", [[0.0, 0.0], [0.1, 0.05], [-0.1, 0.0], []])
def test_times_that_are_negative_or_do_not_ascend_are_refused(tmp_path, images, times):
    with pytest.raises(ValueError, match="ascend"):
        write_video(tmp_path / "v.mp4", images(len(times)), np.array(times), None)


@pytest.mark.parametrize(("frames", "message"), [(2, "3 times but 2 frames"), (4, "3 times but more frames")])
def test_more_or_fewer_images_than_times_are_refused(tmp_path, images, frames, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "v.mp4", images(frames), np.arange(3) / 25, None)


def test_images_of_another_size_or_with_odd_sides_are_refused(tmp_path, images):
    with pytest.raises(ValueError, match="even sides"):
        write_video(tmp_path / "v.mp4", images(3, 97, 64), np.arange(3) / 25, None)
    with pytest.raises(ValueError, match="frame 2"):
        write_video(tmp_path / "v.mp4", [*images(1, 96, 64), *images(1, 64, 64)], np.arange(2) / 25, None)


def test_times_that_an_avi_cannot_store_are_refused(tmp_path, images):
    with pytest.raises(ValueError, match="an AVI starts at 0 s and has a constant rate"):
        write_video(tmp_path / "v.avi", images(3), np.array([0.0, 0.04, 0.1]), None)
