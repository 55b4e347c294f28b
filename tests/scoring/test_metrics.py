import numpy as np
import pytest
from jaxtyping import TypeCheckError
from sklearn import metrics as sklearn_metrics

from abaw_ray.scoring.metrics import confusion_matrix, macro_f1, per_class_f1, sum_by_recording


def make_scores(seed, frames=3000, classes=8):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, size=frames).astype(np.int8)
    predicted = np.where(rng.random(frames) < 0.5, labels.clip(min=0), rng.integers(0, classes, size=frames)).astype(np.int8)
    return labels, predicted


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("classes", [8, 3])
def test_confusion_and_macro_f1_agree_with_scikit_learn_on_annotated_frames(seed, classes):
    labels, predicted = make_scores(seed, classes=classes)
    known, counts = labels >= 0, confusion_matrix(labels, predicted)
    np.testing.assert_array_equal(counts, sklearn_metrics.confusion_matrix(labels[known], predicted[known], labels=range(8)))
    arguments = {"labels": range(8), "average": None, "zero_division": 0}
    np.testing.assert_allclose(per_class_f1(counts), sklearn_metrics.f1_score(labels[known], predicted[known], **arguments))
    assert macro_f1(counts) == pytest.approx(
        sklearn_metrics.f1_score(labels[known], predicted[known], labels=range(8), average="macro", zero_division=0)
    )


def test_absent_classes_count_zero():
    labels = np.array([0, 0, 1, 1], np.int8)
    assert macro_f1(confusion_matrix(labels, labels)) == pytest.approx(2 / 8)
    assert macro_f1(confusion_matrix(np.zeros(0, np.int8), np.zeros(0, np.int8))) == 0


def test_videos_are_pooled_by_adding_their_matrices():
    labels, predicted = make_scores(0)
    parts = sum(confusion_matrix(labels[start : start + 700], predicted[start : start + 700]) for start in range(0, 3000, 700))
    np.testing.assert_array_equal(parts, confusion_matrix(labels, predicted))
    stacked = np.stack([parts, 2 * parts])
    np.testing.assert_allclose(per_class_f1(stacked), np.stack([per_class_f1(parts)] * 2))


@pytest.mark.usefixtures("unchecked_annotations")
def test_only_labelled_frames_need_a_prediction():
    labels = np.array([-1, 3], np.int8)
    assert confusion_matrix(labels, np.array([-1, 3])).sum() == 1
    with pytest.raises(ValueError, match="without a prediction"):
        confusion_matrix(labels, np.array([3, -1]))
    with pytest.raises(ValueError, match="without a prediction"):
        confusion_matrix(labels, np.array([3, 8]))
    with pytest.raises(ValueError, match="labels range from -1 to 8"):
        confusion_matrix(np.array([-1, 8]), np.array([0, 0]))
    with pytest.raises((ValueError, TypeCheckError), match="2 labels for 1 predictions|predicted"):
        confusion_matrix(labels, np.array([0]))


def test_subjects_of_one_recording_are_resampled_together():
    one, two, three = (confusion_matrix(*make_scores(seed, frames=50)) for seed in range(3))
    np.testing.assert_array_equal(sum_by_recording(np.array([one, two, three]), ["b", "a", "b"]), [two, one + three])
