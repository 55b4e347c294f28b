"""Real clips: a part of a clip has the numbers and times of the whole one, and about its boxes."""

import numpy as np
import pytest

from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.tracking.time_range import TimeRange

pytestmark = pytest.mark.clips


def main_rows(crop, path, time_range):
    tables = crop({"video": "v", "uri": str(path), "subjects": []}, time_range=time_range)
    return [row for table in tables for row in table.to_pylist() if row["track"] == "main"]


@pytest.mark.parametrize(("name", "start", "end"), [("single_face.mp4", 0.7, 1.9), ("face_then_none_vfr.mov", 1.0, 4.5), ("no_face.mp4", 2.0, 0.0)])
def test_a_part_has_the_frames_of_the_whole_clip(clips, yunet, name, start, end):
    crop = CropFaces(FacesConfig(detector=DetectorConfig(kind="yunet", weights=yunet) if yunet else DetectorConfig(kind="haar", width=320)))
    whole = main_rows(crop, clips / name, TimeRange())
    part = main_rows(crop, clips / name, TimeRange(start=start, end=end))
    inside = [row for row in whole if start <= row["time"] and (not end or row["time"] < end)]
    assert [(row["frame"], row["time"]) for row in part] == [(row["frame"], row["time"]) for row in inside]
    assert part[0]["frame"] > 10
    assert np.mean([a["seen"] == b["seen"] for a, b in zip(part, inside, strict=True)]) > 0.95
    both = [(a["box"], b["box"]) for a, b in zip(part, inside, strict=True) if a["seen"] and b["seen"]]
    assert bool(both) == (name != "no_face.mp4")
    if both:
        ours, theirs = np.array(both).transpose(1, 0, 2)
        side = np.median(theirs[:, 2] - theirs[:, 0])
        assert np.median(np.abs(ours - theirs)) < 0.05 * side
