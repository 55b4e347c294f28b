import shutil

import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.report.tracks.face_files import open_face_file


def put(rows_file, root, name, stage="faces", settings="0f", identity="1"):
    path = root / stage / settings / "outputs" / f"{Item(name=name, identity=identity).key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(rows_file, path)
    return path


@pytest.mark.parametrize("name", ["v.mp4", "clips/v.mp4", "data/clips/v.mp4", "v"])
def test_the_output_of_a_video_is_found_by_any_trailing_part_of_its_name(rows_file, tmp_path, name):
    root = tmp_path / "runs"
    wanted = put(rows_file, root, name)
    for other in ("w.mp4", "v.mp4.mp4", "clips/vv.mp4"):
        put(rows_file, root, other)
    put(rows_file, root, name, stage="features")
    for where in (root, f"{root}/", root / "faces", f"file://{root}", wanted):
        with open_face_file(str(where), "s3://data/clips/v.mp4") as found:
            assert found == wanted and found.read_bytes() == rows_file.read_bytes()


def test_no_output_and_several_outputs_are_errors(rows_file, tmp_path):
    put(rows_file, tmp_path / "runs", "w.mp4")
    for where, message in {"runs": "has no output", "runs/gone.parquet": "no such file", "nowhere": "has no output"}.items():
        with pytest.raises(DataError, match=message), open_face_file(str(tmp_path / where), "v.mp4"):
            pass
    put(rows_file, tmp_path / "runs", "v.mp4", settings="0a")
    put(rows_file, tmp_path / "runs", "v.mp4", settings="0b")
    with pytest.raises(DataError, match="2 outputs: faces/0a/.*name the .parquet file"), open_face_file(str(tmp_path / "runs"), "v.mp4"):
        pass
