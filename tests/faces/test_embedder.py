"""Which faces are embedded, and how: alignment, channels, quality, and the collector of votes."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest
from framed_faces import LANDMARKS, render
from sface_stand_in import slow_embedding, stand_in_weights

from abaw_ray.faces.config import DetectorConfig, FacesConfig
from abaw_ray.faces.identity import embedder as embedder_module
from abaw_ray.faces.identity.config import PeopleConfig, VoteConfig
from abaw_ray.faces.identity.embedder import FaceEmbedder, SFace, describe, make_embedder
from abaw_ray.faces.identity.quality import align, face_region, is_frontal, measure, pose
from abaw_ray.media.video import decode
from abaw_ray.media.write import write_video

AT = LANDMARKS * 80 + [120, 80]
"""Landmarks of a face of 80 pixels in the middle of the frame."""


@pytest.fixture(scope="module")
def sface():
    return SFace(stand_in_weights())


def turned(rgb, landmarks, angle, scale):
    """A picture and its landmarks, rotated around the middle and scaled."""
    matrix = cv2.getRotationMatrix2D((160, 120), angle, scale)
    return cv2.warpAffine(rgb, matrix, (320, 240), borderMode=cv2.BORDER_REPLICATE), landmarks @ matrix[:, :2].T + matrix[:, 2]


def test_an_embedding_is_the_unit_vector_of_the_aligned_face_in_rgb(sface):
    rgb = render((0, 160, 120))
    vector = sface(rgb, AT)
    assert isinstance(sface, FaceEmbedder) and vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1)
    np.testing.assert_allclose(vector, slow_embedding(align(rgb, AT)), atol=1e-4)
    assert vector @ slow_embedding(align(rgb, AT)[..., ::-1]) < 0.9, "another order of the channels gives another vector"


@pytest.mark.parametrize(("angle", "scale"), [(25, 1.0), (-40, 0.8), (10, 1.4)])
def test_an_embedding_does_not_depend_on_rotation_scale_and_place(sface, angle, scale):
    own, others = sface(render((0, 160, 120)), AT), [sface(render((person, 160, 120)), AT) for person in range(1, 6)]
    again = sface(*turned(render((0, 160, 120)), AT, angle, scale))
    assert own @ again > 0.95 > max(own @ other for other in others)


def test_the_region_of_a_face_has_the_same_embedding_as_the_whole_frame(sface, tmp_path):
    write_video(tmp_path / "v.mp4", [cv2.resize(render((2, 160, 120)), (1280, 960))], np.zeros(1), None, crf=5)
    frame = next(decode(str(tmp_path / "v.mp4")))
    rgb, landmarks, zoom = face_region(frame, AT * 4)
    assert max(rgb.shape[:2]) <= 256 and zoom < 0.5 and rgb.shape[0] % 2 == 0
    assert sface(rgb, landmarks) @ sface(frame.rgb(), AT * 4) > 0.98
    assert measure(rgb, landmarks, zoom).eye_distance == pytest.approx(128, rel=0.02)
    assert face_region(frame, AT - 2000.0) is None


def test_pose_measures_distance_yaw_and_aspect():
    assert pose(AT) == pytest.approx((32, 0, 1))
    assert pose(turned(render(), AT, 30, 1.0)[1]) == pytest.approx((32, 0, 1)), "a rotated face is still frontal"
    sideways = AT + np.array([[0, 0], [0, 0], [16, 0], [0, 0], [0, 0]])
    assert pose(sideways)[1] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "landmarks",
    [LANDMARKS * 30, AT + np.array([[0, 0], [0, 0], [16, 0], [0, 0], [0, 0]]), LANDMARKS * [40, 80], LANDMARKS * [160, 80]],
    ids=["small", "nose beyond the eyes", "profile", "bowed"],
)
def test_small_and_turned_faces_give_no_vote(landmarks):
    assert is_frontal(AT, VoteConfig()) and not is_frontal(landmarks, VoteConfig())


@pytest.mark.parametrize(
    "spoil",
    [lambda rgb: rgb // 5, lambda rgb: cv2.GaussianBlur(rgb, (0, 0), 8), lambda rgb: (rgb * 0.05 + 120).astype(np.uint8)],
    ids=["dark", "blurred", "flat"],
)
def test_dark_blurred_and_flat_faces_give_no_vote(spoil):
    rgb = render((0, 160, 120))
    assert measure(rgb, AT).accepted(VoteConfig()) and not measure(spoil(rgb), AT).accepted(VoteConfig())


def test_larger_sharper_and_more_frontal_faces_rank_higher():
    rgb = render((0, 160, 120))
    best = measure(rgb, AT).value
    assert 0 < measure(cv2.GaussianBlur(rgb, (0, 0), 4), AT).value < best <= 1
    assert measure(rgb, AT + np.array([[0, 0], [0, 0], [8, 0], [0, 0], [0, 0]])).value < best
    assert measure(rgb, AT, zoom=2.0).value < best


YUNET = FacesConfig(people=PeopleConfig(weights="sface.onnx"))


def test_without_weights_or_landmarks_there_is_no_embedder():
    for config in (
        FacesConfig(),
        FacesConfig(people=PeopleConfig(weights="none")),
        replace(YUNET, detector=DetectorConfig(kind="haar")),
        replace(YUNET, detector=DetectorConfig(kind="given", boxes="b.csv")),
    ):
        assert not config.uses_embeddings and make_embedder(config) is None


def test_an_embedder_is_built_from_given_bytes_or_from_the_configured_path(monkeypatch):
    requested = []
    monkeypatch.setattr(embedder_module, "sface_weights", lambda value: requested.append(value) or stand_in_weights())
    assert make_embedder(YUNET, stand_in_weights()) is not None and requested == []
    assert make_embedder(YUNET) is not None and requested == ["sface.onnx"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (YUNET, "by face embeddings"),
        (FacesConfig(), "not joined across cuts.*give --people-weights the path"),
        (FacesConfig(detector=DetectorConfig(kind="haar")), "use --detector yunet and give --people-weights"),
        (FacesConfig(detector=DetectorConfig(kind="given", boxes="b.csv")), "tracks of the given boxes"),
    ],
)
def test_the_description_says_how_people_are_identified_and_what_would_change_it(config, text):
    assert re.search(text, describe(config))
