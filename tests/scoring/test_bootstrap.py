import numpy as np
import pytest

from abaw_ray.scoring.bootstrap import (
    bootstrap_interval,
    bootstrap_interval_per_class,
    paired_difference,
    paired_difference_per_class,
    paired_standard_error,
)
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1, per_class_f1


def make_matrices(seed, recordings=20, frames=200, correct=0.5, labels_seed=0):
    """Matrices by recording; equal ``labels_seed`` are equal annotations and equally difficult recordings."""
    labelled, rng = np.random.default_rng(labels_seed), np.random.default_rng([seed, 1])
    matrices = []
    for _ in range(recordings):
        labels, difficulty = labelled.integers(0, 8, size=frames).astype(np.int8), labelled.uniform(-0.3, 0.3)
        right = rng.random(frames) < correct + difficulty
        matrices.append(confusion_matrix(labels, np.where(right, labels, rng.integers(0, 8, size=frames)).astype(np.int8)))
    return np.array(matrices)


def test_the_interval_contains_the_score_and_is_wider_for_more_different_recordings():
    equal = np.array([make_matrices(0, recordings=1)[0]] * 20)
    assert np.ptp(bootstrap_interval(equal, seed=0)) == 0
    different = make_matrices(0)
    low, high = bootstrap_interval(different, seed=0)
    assert low < macro_f1(different.sum(axis=0)) < high
    assert (low, high) == bootstrap_interval(different, seed=0) != bootstrap_interval(different, seed=1)


def test_the_interval_agrees_with_resampling_recordings_one_by_one():
    matrices, rng = make_matrices(0, recordings=12), np.random.default_rng(5)
    slow = [macro_f1(matrices[rng.integers(0, 12, size=12)].sum(axis=0)) for _ in range(4000)]
    np.testing.assert_allclose(bootstrap_interval(matrices, seed=0, samples=4000), np.quantile(slow, [0.025, 0.975]), atol=0.01)


def test_the_interval_of_each_class_is_that_of_its_f1_over_the_same_resampled_recordings():
    matrices = make_matrices(0, recordings=12)
    draws = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=500)
    slow = np.array([per_class_f1(np.repeat(matrices, draw, axis=0).sum(axis=0)) for draw in draws])
    np.testing.assert_allclose(bootstrap_interval_per_class(matrices, seed=3, samples=500), np.quantile(slow, [0.025, 0.975], axis=0).T)
    np.testing.assert_allclose(bootstrap_interval(matrices, seed=3, samples=500), np.quantile(slow.mean(axis=1), [0.025, 0.975]))


def test_recordings_and_not_frames_are_resampled():
    """A hundred times the frames of the same recordings say no more about other recordings."""
    matrices = make_matrices(0)
    assert bootstrap_interval(100 * matrices, seed=0) == pytest.approx(bootstrap_interval(matrices, seed=0))
    other = make_matrices(1)
    assert paired_difference([100 * matrices], [100 * other], seed=0) == pytest.approx(paired_difference([matrices], [other], seed=0))


def test_a_model_minus_itself_is_zero_with_an_interval_of_zero():
    matrices = make_matrices(0)
    assert paired_difference([matrices], [matrices], seed=0) == (0, 0, 0)
    differences, intervals = paired_difference_per_class([matrices], [matrices], seed=0)
    assert not differences.any() and not intervals.any()


def test_a_paired_difference_is_that_of_the_scores_within_its_interval_and_changes_sign_with_the_order():
    better, worse = make_matrices(0, correct=0.6), make_matrices(1, correct=0.4)
    difference, low, high = paired_difference([better], [worse], seed=0)
    assert difference == pytest.approx(macro_f1(better.sum(axis=0)) - macro_f1(worse.sum(axis=0)))
    assert 0 < low < difference < high
    assert paired_difference([worse], [better], seed=0) == pytest.approx((-difference, -high, -low))


def test_a_paired_interval_is_narrower_than_that_of_independent_samples_where_recordings_are_difficult_for_both():
    a, b = make_matrices(0), make_matrices(1)
    _, low, high = paired_difference([a], [b], seed=0)
    rng = np.random.default_rng(0)
    unpaired = [macro_f1(a[rng.integers(0, 20, size=20)].sum(axis=0)) - macro_f1(b[rng.integers(0, 20, size=20)].sum(axis=0)) for _ in range(1000)]
    assert high - low < 0.5 * np.ptp(np.quantile(unpaired, [0.025, 0.975]))


def test_the_difference_of_several_seeds_is_the_mean_of_theirs_and_recordings_are_resampled_once_for_all():
    a, b, c = (make_matrices(seed, correct=correct) for seed, correct in ((0, 0.6), (1, 0.5), (2, 0.55)))
    difference, low, high = paired_difference([a, c], [b, b], seed=0)
    assert difference == pytest.approx(np.mean([paired_difference([one], [b], seed=0)[0] for one in (a, c)]))
    assert paired_difference([a, a], [b, b], seed=0) == pytest.approx(paired_difference([a], [b], seed=0)), "the same recordings are not more of them"
    fewer = make_matrices(3, recordings=9, labels_seed=9), make_matrices(4, recordings=9, labels_seed=9)
    assert paired_difference([a, fewer[0]], [b, fewer[1]], seed=0)[0] == pytest.approx(
        np.mean([paired_difference([a], [b], seed=0)[0], paired_difference([fewer[0]], [fewer[1]], seed=0)[0]])
    )
    assert low < difference < high


def test_differences_per_class_are_those_of_each_class_and_average_to_that_of_macro_f1():
    a, b = make_matrices(0, correct=0.6), make_matrices(1, correct=0.5)
    differences, intervals = paired_difference_per_class([a], [b], seed=0)
    np.testing.assert_allclose(differences, per_class_f1(a.sum(axis=0)) - per_class_f1(b.sum(axis=0)))
    assert differences.mean() == pytest.approx(paired_difference([a], [b], seed=0)[0])
    assert ((intervals[:, 0] < differences) & (differences < intervals[:, 1])).all()


def test_sides_that_are_not_paired_are_refused():
    a = make_matrices(0)
    for other in ([a[1:]], [a, a], []):
        with pytest.raises(ValueError, match="the same recordings on both sides"):
            paired_difference([a], other, seed=0)
    with pytest.raises(ValueError, match="the same frames on both sides"):
        paired_difference([a], [a[::-1]], seed=0)
    with pytest.raises(ValueError, match="the same recordings on both sides"):
        paired_difference([], [], seed=0)
    with pytest.raises(ValueError, match="no recording to resample"):
        bootstrap_interval(a[:0], seed=0)


def test_the_standard_error_of_a_paired_difference_is_that_of_resampling_recordings_one_by_one():
    a, b, rng = make_matrices(0, recordings=12), make_matrices(1, recordings=12), np.random.default_rng(5)
    slow = []
    for _ in range(4000):
        rows = rng.integers(0, 12, size=12)
        slow.append(macro_f1(a[rows].sum(axis=0)) - macro_f1(b[rows].sum(axis=0)))
    assert paired_standard_error([a], [b], seed=0) == pytest.approx(np.std(slow), rel=0.1)
    assert paired_standard_error([a], [a], seed=0) == 0
