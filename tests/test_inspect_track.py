"""The tool that shows a track: from a video or from rows, complete or damaged, and its error messages."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from abaw_ray.core.errors import ItemError
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video
from tools.data import inspect_track

ROOT = Path(__file__).parents[1]


@pytest.fixture
def video(tmp_path, monkeypatch):
    """Path of a video of an empty room; the working folder is the test's own."""
    monkeypatch.chdir(tmp_path)
    room = np.random.default_rng(0).integers(60, 90, (96, 128, 3)).astype(np.uint8)
    write_video(tmp_path / "an empty room.mp4", [room] * 12, np.arange(12) / 10, np.zeros(16000, np.float32), preset="ultrafast")
    return str(tmp_path / "an empty room.mp4")


def test_a_sheet_and_an_overlay_are_made_from_a_video_alone(video, tmp_path, capsys):
    assert inspect_track.main(video, detector="haar", overlay=tmp_path / "new" / "o.mp4", columns=4, rows=2) == 0
    assert capsys.readouterr().out.splitlines()[0] == "an_empty_room-main.png: track main, 12 frames: not seen 12"
    with Image.open(tmp_path / "an_empty_room-main.png") as sheet:
        assert sheet.width == 956
    assert len(list(decode(str(tmp_path / "new" / "o.mp4")))) == 12


class FailingCropFaces(CropFaces):
    """Fails after seven frames, as on a damaged video."""

    def __call__(self, video, last=None):
        yield from super().__call__(video, last=7)
        raise ItemError("decoding broke after frame 7", 7)


def test_a_damaged_video_is_shown_up_to_the_damage_and_reported(video, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inspect_track, "CropFaces", FailingCropFaces)
    assert inspect_track.main(video, detector="haar", out=tmp_path / "s.png", overlay=tmp_path / "o.mp4") == 0
    message = capsys.readouterr().out
    assert "7 frames: not seen 7; The video is damaged" in message and "decoding broke after frame 7" in message
    assert len(list(decode(str(tmp_path / "o.mp4")))) == 7


def test_an_error_is_one_line_and_an_exit_code(video, tmp_path, capsys):
    (tmp_path / "text.mp4").write_text("no video" * 100)
    for args, code, message in [
        ({"video": str(tmp_path / "text.mp4")}, 1, "text.mp4: "),
        ({"video": "gone.mp4"}, 3, "gone.mp4"),
        ({"video": video, "track": "person-7"}, 3, "has no track 'person-7'; there are main"),
        ({"video": video, "columns": 0}, 2, "columns=0"),
        ({"video": video, "out": Path("sheet.xyz")}, 2, "sheet.xyz"),
        ({"video": video, "overlay": Path("o.avi")}, 2, "o.avi"),
        ({"video": video, "faces": str(tmp_path)}, 3, "no output"),
    ]:
        assert inspect_track.main(**{"detector": "haar", **args}) == code
        printed = capsys.readouterr().err
        assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1
    assert list(tmp_path.glob("*.png")) == []


def test_the_tool_does_not_import_ray():
    code = "import sys; import tools.data.inspect_track; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_help_lists_all_options(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(inspect_track.main, args=["--help"])
    assert {"--track", "--faces", "--detector", "--weights", "--out", "--overlay", "--columns", "--rows"} <= set(capsys.readouterr().out.split())
