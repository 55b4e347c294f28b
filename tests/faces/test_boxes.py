from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_ray.faces.boxes import area, center, center_distance, iou, lerp, longer_side, min_cost_assignment, nms, size_ratio

number = st.floats(-1000, 1000, allow_nan=False).map(lambda value: round(value, 2))
length = st.floats(0.5, 500).map(lambda value: round(value, 2))
box = st.tuples(number, number, length, length).map(lambda b: np.array([b[0], b[1], b[0] + b[2], b[1] + b[3]]))


@given(box, box)
def test_iou_is_symmetric_between_0_and_1_and_1_with_itself(a, b):
    shared = iou(a[None], b[None])[0, 0]
    assert 0 <= shared <= 1 and shared == pytest.approx(iou(b[None], a[None])[0, 0])
    assert iou(a[None], a[None])[0, 0] == pytest.approx(1)


@given(box, box, number, number, st.floats(0.1, 10))
def test_iou_distance_and_size_ratio_are_invariant_to_translation_and_scale(a, b, dx, dy, zoom):
    moved = [(p.reshape(2, 2) * zoom + (dx, dy)).reshape(1, 4) for p in (a, b)]
    for measure in (iou, center_distance, size_ratio):
        assert measure(*moved)[0, 0] == pytest.approx(measure(a[None], b[None])[0, 0], rel=1e-6, abs=1e-6)


def test_iou_of_a_known_pair():
    a, b = np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 15, 10], [20, 20, 30, 30]])
    np.testing.assert_allclose(iou(a, b), [[1 / 3, 0]])
    np.testing.assert_allclose(center_distance(a, b)[0], [0.5, np.hypot(20, 20) / 10])
    np.testing.assert_allclose(size_ratio(a, np.array([[0.0, 0, 5, 4]])), [[2.0]])


@given(box, box, st.floats(0, 1))
def test_an_interpolated_box_has_its_center_on_the_line_between_the_two(a, b, weight):
    middle = lerp(a, b, weight)
    np.testing.assert_allclose(center(middle), center(a) + (center(b) - center(a)) * weight, atol=1e-6)
    assert min(longer_side(a), longer_side(b)) - 500 <= longer_side(middle) <= max(longer_side(a), longer_side(b)) + 1e-9
    np.testing.assert_allclose(lerp(a, b, 0), a)
    np.testing.assert_allclose(lerp(a, b, 1), b, atol=1e-9)


@given(st.lists(box, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_nms_keeps_the_highest_score_and_drops_only_boxes_that_overlap_a_higher_one(boxes, random):
    boxes = np.stack(boxes)
    scores = np.array([random.random() for _ in boxes])
    kept = nms(boxes, scores, iou_threshold=0.4)
    shared = iou(boxes, boxes)
    assert int(scores.argmax()) == kept[0]
    assert all(shared[a, b] <= 0.4 for a in kept for b in kept if a != b)
    for index in set(range(len(boxes))) - set(kept):
        assert any(shared[index, other] > 0.4 and scores[other] >= scores[index] for other in kept)


def test_an_inverted_box_has_no_area():
    assert area(np.array([10.0, 0, 0, 10])) == 0


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_the_assignment_has_the_least_cost_of_all_permutations(rows, columns, data):
    cost = np.array(data.draw(st.lists(st.floats(-10, 10), min_size=rows * columns, max_size=rows * columns))).reshape(rows, columns)
    pairs = min_cost_assignment(cost)
    few, many = sorted((rows, columns))
    flat = cost if rows <= columns else cost.T
    assert len(pairs) == few and len({a for a, _ in pairs}) == len({b for _, b in pairs}) == few
    assert sum(cost[a, b] for a, b in pairs) == pytest.approx(min(sum(flat[range(few), way]) for way in permutations(range(many), few)))
