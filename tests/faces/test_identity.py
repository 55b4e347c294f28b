"""People of synthetic videos by embeddings: no track holds two of them, whatever is cut, swapped or dissolved, and chunks give the same rows."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from framed_faces import framed_faces, render
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sface_stand_in import stand_in_weights

from abaw_ray.core import schema
from abaw_ray.faces.config import DetectorConfig, FacesConfig, SegmentConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.faces.identity.embedder import SFace
from abaw_ray.faces.tracking.segments import Chunk
from abaw_ray.media.write import write_video

ANNA, BEN, CARL, DORA = 0, 1, 2, 4
"""Pictures whose embeddings differ clearly."""
CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=320))
ROOMS = [(110, 120, 130), (30, 60, 50), (200, 170, 190), (70, 130, 40)]


@pytest.fixture(scope="module")
def embedder():
    return SFace(stand_in_weights())


@pytest.fixture
def tracks(tmp_path, embedder):
    """A function that writes frames as a video and returns the rows with a face of each track; by default with embeddings."""

    def run(frames, config=CONFIG, embedder=embedder):
        write_video(tmp_path / "v.mp4", frames, np.arange(len(frames)) / 25, None, crf=8, preset="ultrafast")
        crop = CropFaces(config, framed_faces, embedder=embedder)
        rows = pa.concat_tables(crop({"video": "v", "uri": str(tmp_path / "v.mp4"), "subjects": []})).to_pylist()
        found = {}
        for row in rows:
            if row["seen"]:
                found.setdefault(row["track"], []).append(row["frame"])
        return found

    return run


def frames_of(first, last):
    return list(range(first, last + 1))


def test_people_are_joined_across_cuts_and_two_people_at_one_place_are_not(tracks):
    shots = [(ANNA, 160, 120), (BEN, 160, 120), (ANNA, 90, 100, 70), (BEN, 200, 130)]
    frames = [render(face, room=ROOMS[shot]) for shot, face in enumerate(shots) for _ in range(40)]
    assert tracks(frames) == {"main": frames_of(41, 80) + frames_of(121, 160), "person-2": frames_of(1, 40) + frames_of(81, 120)}
    alone = sorted(tracks(frames, embedder=None).values())
    assert alone == [frames_of(40 * k + 1, 40 * k + 40) for k in range(4)], "without embeddings, each shot has people of its own"


@pytest.mark.parametrize("first", [37, 62, 101])
def test_a_person_who_replaces_another_without_a_cut_is_another_track_from_the_first_frame_on(tracks, first):
    found = tracks([render((ANNA if k < first else BEN, 160, 120)) for k in range(150)])
    assert sorted(found.values()) == [frames_of(1, first), frames_of(first + 1, 150)]


def test_a_dissolve_divides_a_track_in_its_middle(tracks):
    weights = np.clip((np.arange(150) - 60) / 20, 0, 1)
    first, second = (render((person, 160, 120)).astype(float) for person in (ANNA, BEN))
    found = sorted(tracks([(first * (1 - w) + second * w).astype(np.uint8) for w in weights]).values())
    assert len(found) == 2 and found[0] + found[1] == frames_of(1, 150) and 66 <= len(found[0]) <= 76


def test_whoever_comes_to_the_place_of_a_person_who_left_is_not_taken_for_them(tracks):
    def frame(k):
        return render(*[(person, 160, 120) for person, start, stop in ((ANNA, 0, 50), (BEN, 80, 130), (ANNA, 160, 210)) if start <= k < stop])

    found = tracks([frame(k) for k in range(210)])
    assert sorted(found.values()) == [frames_of(1, 50) + frames_of(161, 210), frames_of(81, 130)]


def test_two_people_who_swap_places_while_hidden_keep_their_tracks(tracks):
    frames = [render((ANNA, 90, 120), (BEN, 230, 120))] * 50 + [render()] * 30 + [render((BEN, 90, 120), (ANNA, 230, 120))] * 50
    assert list(tracks(frames).values()) == [frames_of(1, 50) + frames_of(81, 130)] * 2
    assert sorted(tracks(frames, embedder=None).values()) == [frames_of(1, 50)] * 2 + [frames_of(81, 130)] * 2, "each may be either of them"


def test_faces_too_small_for_an_embedding_are_not_joined_across_a_cut(tracks):
    frames = [render((ANNA, 160, 120, 30), room=ROOMS[shot]) for shot in range(2) for _ in range(30)]
    assert len(tracks(frames)) == 2


SHOT = st.tuples(st.permutations([ANNA, BEN, CARL, DORA]), st.integers(1, 2), st.sampled_from([25, 38, 60]), st.booleans(), st.integers(0, 3))
"""People, how many of them, frames, whether they change places in the middle, and the room."""


def scene(shots):
    """Frames, and for each frame the people by place: 0 left, 1 right."""
    for people, count, length, swap, room in shots:
        for k in range(length):
            shown = list(people[:count])[:: -1 if swap and k >= length // 2 else 1]
            yield render(*((person, 90 + 140 * place, 120) for place, person in enumerate(shown)), room=ROOMS[room]), shown


@pytest.mark.slow
@settings(max_examples=8, phases=[Phase.generate])
@given(st.lists(SHOT, min_size=2, max_size=5))
def test_no_track_holds_two_people_and_chunks_give_the_rows_of_one_pass(tmp_path_factory, embedder, shots):
    folder, shown = tmp_path_factory.mktemp("scene"), list(scene(shots))
    write_video(folder / "v.mp4", [rgb for rgb, _ in shown], np.arange(len(shown)) / 25, None, crf=8, preset="ultrafast")
    crop = CropFaces(FacesConfig(detector=CONFIG.detector, segments=SegmentConfig(length_s=2.0, overlap_s=0.5)), framed_faces, embedder=embedder)
    video, folders = {"video": "v", "uri": str(folder / "v.mp4"), "subjects": []}, []
    for first, stop in itertools.pairwise([None, 1, 3, None]):
        folders.append(folder / str(first))
        folders[-1].mkdir()
        crop.crop_chunk(video, Chunk(first, stop), folders[-1])
    whole = pa.concat_tables(crop(video))
    assert pa.concat_tables(crop.join_chunks(video, folders)).equals(whole) and whole.schema == schema.FACE
    people = {}
    for row in whole.to_pylist():
        if row["seen"]:
            people.setdefault(row["track"], set()).add(shown[row["frame"] - 1][1][int(row["box"][0] + row["box"][2] > 320)])
    assert all(len(faces) == 1 for faces in people.values()), people


def test_the_tracks_of_a_data_set_that_show_two_faces_are_noted(tmp_path, embedder):
    frames = [render((face, 160, 120), room=ROOMS[shot]) for shot, face in enumerate((ANNA, BEN)) for _ in range(40)]
    write_video(tmp_path / "v.mp4", frames, np.arange(80) / 25, None, crf=8, preset="ultrafast")
    crop, noted = CropFaces(CONFIG, framed_faces, embedder=embedder), {}
    for side in ("", "left"):
        notes = {}
        list(crop({"video": "v", "uri": str(tmp_path / "v.mp4"), "subjects": [{"track": "7", "side": side}]}, notes=notes))
        noted[side] = notes["mixed_subjects"]
    assert noted == {"": 1, "left": 0}
