"""The labelled face of a still image: where it is searched, at which size, and which one is chosen."""

import numpy as np
import pytest

from abaw_ray.faces.config import DetectorConfig
from abaw_ray.faces.detection.detect import Face
from abaw_ray.faces.detection.still_detector import StillDetector

CONFIG = DetectorConfig(kind="haar")
RED = (220, 10, 30)


def picture(width, height, *squares):
    rgb = np.full((height, width, 3), 110, np.uint8)
    for x0, y0, x1, y1 in squares:
        rgb[y0:y1, x0:x1] = RED
    return rgb


@pytest.mark.parametrize(("width", "height"), [(48, 48), (100, 100), (224, 224), (900, 600), (300, 500)])
def test_the_box_is_in_pixels_of_the_image_at_any_size(detector, width, height):
    side = min(width, height)
    square = (width // 2 - side // 3, height // 2 - side // 4, width // 2 + side // 4, height // 2 + side // 3)
    face = StillDetector(detector, CONFIG)(picture(width, height, square))
    np.testing.assert_allclose(face.box, square, atol=0.02 * max(width, height))


def test_a_face_that_fills_the_picture_is_surrounded_by_black_and_has_the_size_of_tracked_faces(detector):
    seen = []
    face = StillDetector(lambda rgb, size: seen.append(rgb) or detector(rgb, size), CONFIG)(picture(100, 100, (5, 5, 95, 95)))
    np.testing.assert_allclose(face.box, [5, 5, 95, 95], atol=2)
    assert len(seen) == 1 and seen[0].shape == (160, 160, 3)
    assert not seen[0][:38].any() and not seen[0][:, 122:].any() and seen[0][42:118, 42:118].all()


def test_landmarks_are_moved_with_the_box():
    points = np.arange(10.0).reshape(5, 2) + 60
    face = StillDetector(lambda rgb, size: [Face(np.array([40.0, 40, 120, 120]), 0.9, points)], CONFIG)(picture(80, 80))
    np.testing.assert_allclose(face.box, [0, 0, 80, 80])
    np.testing.assert_allclose(face.landmarks, points - 40)


def test_without_a_box_the_largest_face_near_the_center_is_chosen(detector):
    find = StillDetector(detector, CONFIG)
    corner, small, middle = (0, 0, 50, 50), (90, 20, 110, 40), (80, 80, 124, 124)
    np.testing.assert_allclose(find(picture(200, 200, corner, small, middle)).box, middle, atol=3)
    np.testing.assert_allclose(find(picture(200, 200, corner, small)).box, corner, atol=3)


def test_with_a_box_the_face_that_overlaps_it_is_chosen_and_no_other(detector):
    find, rgb = StillDetector(detector, CONFIG), picture(300, 200, (20, 60, 100, 140), (180, 80, 220, 120))
    np.testing.assert_allclose(find(rgb, np.array([170.0, 75, 225, 130])).box, [180, 80, 220, 120], atol=3)
    assert find(rgb, np.array([230.0, 20, 280, 70])) is None
    assert find(picture(200, 200), np.array([50.0, 50, 90, 90])) is None


def test_a_small_face_in_a_large_picture_is_found_at_a_larger_side(detector):
    sides = []
    find = StillDetector(lambda rgb, size: sides.append(len(rgb)) or detector(rgb, size), CONFIG)
    np.testing.assert_allclose(find(picture(1000, 800, (400, 380, 560, 540))).box, [400, 380, 560, 540], atol=7)
    assert sides == [160, 320]


def test_a_score_that_starts_no_track_in_a_video_is_no_face():
    def detect(rgb, min_size):
        return [Face(np.array([40.0, 40, 90, 90]), 0.59)]

    assert StillDetector(detect, CONFIG)(picture(100, 100)) is None
