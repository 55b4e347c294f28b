"""Real people: no track holds two of them, and people are found again across cuts, with dlib's embeddings in the place of SFace's."""

import numpy as np
import pyarrow as pa
import pytest
from scenes import Material

from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.write import write_video

pytestmark = pytest.mark.clips

STAGE = [
    (1, 20, {"pianist": (0.0, 0.3), "performer": (0.7, 1.0)}),
    (21, 82, {"pianist": (0.4, 1.0), "man": (0.27, 0.38)}),
    (83, 211, {"performer": (0.2, 0.6)}),
    (212, 275, {"woman left": (0.25, 0.4), "man": (0.48, 0.6), "woman right": (0.62, 0.78)}),
]
"""First and last frame of each shot of ``cuts_stage.mp4``, and where the centers of its people are, as shares of the width."""
CLOSE_UP = 0.4
"""Share of the height: in the second shot the pianist's box is larger; smaller boxes at the same place are people behind."""
SCENES = ("cuts", "cuts_at_one_place", "short_shots", "dissolve", "replaced", "exchanged")


@pytest.fixture(scope="module")
def embedder():
    from dlib_embedder import DlibEmbedder  # of the extra `clips`, which is not installed where these tests are deselected

    return DlibEmbedder()


@pytest.fixture(scope="module")
def material(clips, people_folder):
    return Material(clips, people_folder)


def read_tracks(path, weights, embedder):
    """The rows with a face of each track."""
    crop = CropFaces(FacesConfig(detector=DetectorConfig(weights=weights)), embedder=embedder)
    found = {}
    for row in pa.concat_tables(crop({"video": "v", "uri": str(path), "subjects": []})).to_pylist():
        if row["seen"]:
            found.setdefault(row["track"], []).append(row)
    return found


def person_on_stage(row):
    """The name of the person in this row; None for people without a name."""
    x0, y0, x1, y1 = row["box"]
    center = (x0 + x1) / 2 / 640
    people = next(people for first, last, people in STAGE if first <= row["frame"] <= last)
    name = next((name for name, (low, high) in people.items() if low <= center <= high), None)
    return f"behind {center:.1f}" if name == "pianist" and row["frame"] > 20 and y1 - y0 < CLOSE_UP * 360 else name


@pytest.fixture(scope="module")
def stage_tracks(people_folder, weights_file, embedder):
    """A function that returns the tracks of ``cuts_stage.mp4``, with or without embeddings."""
    return lambda with_embedder: read_tracks(people_folder / "cuts_stage.mp4", weights_file, embedder if with_embedder else None)


@pytest.mark.parametrize("with_embedder", [True, False])
def test_no_track_of_a_clip_with_cuts_holds_two_people(stage_tracks, with_embedder):
    for track, rows in stage_tracks(with_embedder).items():
        names = {person_on_stage(row) for row in rows}
        assert len({name for name in names if name and not name.startswith("behind")}) <= 1, (track, names)
        assert "pianist" not in names or not any(name and name.startswith("behind") for name in names), (track, names)


def test_the_main_person_of_a_clip_with_cuts_is_the_performer_in_both_shots(stage_tracks):
    main = stage_tracks(True)["main"]
    assert {person_on_stage(row) for row in main} == {"performer"}
    assert len(main) > 0.95 * (20 + 129)


def test_without_embeddings_no_track_goes_across_a_cut(stage_tracks):
    for track, rows in stage_tracks(False).items():
        assert sum(any(first <= row["frame"] <= last for row in rows) for first, last, _ in STAGE) == 1, track


@pytest.mark.parametrize("name", SCENES)
def test_two_people_have_two_tracks_whatever_is_cut_or_replaced(tmp_path, material, weights_file, embedder, name):
    frames, shown = getattr(material, name)()
    write_video(tmp_path / "v.mp4", frames, np.arange(len(frames)) / 30, None, crf=20, preset="veryfast")
    tracks = read_tracks(tmp_path / "v.mp4", weights_file, embedder)
    found = {track: {shown[row["frame"] - 1] for row in rows} - {None} for track, rows in tracks.items()}
    found = {track: people for track, people in found.items() if people and sum(shown[row["frame"] - 1] is not None for row in tracks[track]) > 20}
    assert sorted(found.values(), key=sorted) == [{"a"}, {"b"}]
    for track, people in found.items():
        rows = {row["frame"] for row in tracks[track]}
        expected = {frame for frame, person in enumerate(shown, start=1) if {person} == people}
        assert len(rows & expected) > 0.9 * len(expected)
