import shutil

import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.core.storage.records import Item
from abaw_ray.report.tracks.parts import found_part


def put(part, root, name, stage="faces", home="0f", identity="1"):
    path = root / stage / home / "parts" / f"{Item(name=name, identity=identity).key}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(part, path)
    return path


@pytest.mark.parametrize("name", ["v.mp4", "clips/v.mp4", "data/clips/v.mp4", "v"])
def test_the_part_of_a_video_is_found_among_results_by_any_end_of_its_name(part, tmp_path, name):
    root = tmp_path / "runs"
    wanted = put(part, root, name)
    for other in ("w.mp4", "v.mp4.mp4", "clips/vv.mp4"):
        put(part, root, other)
    put(part, root, name, stage="features")
    for where in (root, f"{root}/", root / "faces", f"file://{root}", wanted):
        with found_part(str(where), "s3://data/clips/v.mp4") as found:
            assert found == wanted and found.read_bytes() == part.read_bytes()


def test_no_part_and_several_parts_are_errors_that_say_what_to_do(part, tmp_path):
    put(part, tmp_path / "runs", "w.mp4")
    for where, said in {"runs": "has no part of it", "runs/gone.parquet": "no such file", "nowhere": "has no part of it"}.items():
        with pytest.raises(DataError, match=said), found_part(str(tmp_path / where), "v.mp4"):
            pass
    put(part, tmp_path / "runs", "v.mp4", home="0a")
    put(part, tmp_path / "runs", "v.mp4", home="0b")
    with pytest.raises(DataError, match="2 parts of it: faces/0a/.*name the .parquet file"), found_part(str(tmp_path / "runs"), "v.mp4"):
        pass
