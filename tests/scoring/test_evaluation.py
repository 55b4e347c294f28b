import numpy as np
import pytest

from abaw_ray.scoring.bootstrap import bootstrap_interval, bootstrap_interval_per_class, paired_difference, paired_standard_error
from abaw_ray.scoring.evaluation import Evaluation, evaluations_table, read_evaluations
from abaw_ray.scoring.metrics import macro_f1, per_class_f1


def make_evaluation(seed, correct=30, subjects=12):
    """Three subjects in each recording, with 10 frames of each class."""
    rng = np.random.default_rng(seed)
    counts = np.array([[rng.multinomial(correct, np.eye(8)[row] * 0.6 + 0.05) for row in range(8)] for _ in range(subjects)])
    return Evaluation.of_subjects(counts, [f"recording {index % 4}" for index in range(subjects)])


def test_subjects_of_one_recording_are_one_sample():
    evaluation = make_evaluation(0)
    assert evaluation.recordings == tuple(f"recording {index}" for index in range(4)) and evaluation.counts.shape == (4, 8, 8)
    score = evaluation.score()
    assert score["macro_f1"] == macro_f1(evaluation.counts.sum(axis=0)) == pytest.approx(np.mean(score["per_class"]))
    assert score["interval"] == list(bootstrap_interval(evaluation.counts, seed=0))
    assert score["interval"][0] <= score["macro_f1"] <= score["interval"][1]
    assert score["per_class_intervals"] == bootstrap_interval_per_class(evaluation.counts, seed=0).tolist()
    assert all(low <= f1 <= high for f1, (low, high) in zip(score["per_class"], score["per_class_intervals"], strict=True))


def test_a_difference_is_paired_by_recording():
    one, other = make_evaluation(0), make_evaluation(1)
    difference, low, high = paired_difference([one.counts], [other.counts], seed=0)
    assert one.minus(other) == {"macro_f1": difference, "interval": [low, high]}
    per_class = one.minus_per_class(other)
    np.testing.assert_allclose(per_class["per_class"], per_class_f1(one.counts.sum(axis=0)) - per_class_f1(other.counts.sum(axis=0)))
    assert len(per_class["interval"]) == 8 and all(low <= high for low, high in per_class["interval"])


@pytest.mark.parametrize("recordings", [1, 4])
def test_evaluations_of_different_frames_have_no_difference(recordings):
    one = make_evaluation(0).without({f"recording {index}" for index in range(recordings, 4)})
    renamed = Evaluation((*one.recordings[:-1], "recording x"), one.counts)
    annotated_otherwise = Evaluation(one.recordings, one.counts[:, ::-1] + 1)
    for difference in (one.minus, one.minus_per_class):
        with pytest.raises(ValueError, match="different recordings"):
            difference(renamed)
        with pytest.raises(ValueError, match="different annotations"):
            difference(annotated_otherwise)


def test_fewer_than_two_recordings_give_a_score_and_no_interval():
    one, other = (make_evaluation(seed).without({"recording 0", "recording 1", "recording 3"}) for seed in range(2))
    assert (
        one.recordings == ("recording 2",) and one.score()["macro_f1"] > 0 and one.score()["interval"] is one.score()["per_class_intervals"] is None
    )
    difference = one.minus(other)
    assert difference["macro_f1"] == pytest.approx(one.score()["macro_f1"] - other.score()["macro_f1"]) and difference["interval"] is None
    assert one.minus_per_class(other)["interval"] is None
    nothing = one.without({"recording 2"}).score()
    assert nothing["macro_f1"] == 0 and nothing["interval"] is None


def test_the_table_of_recordings_gives_the_same_evaluations_again():
    evaluations = {"official": make_evaluation(0), "visual": make_evaluation(1, subjects=8)}
    table = evaluations_table(evaluations)
    assert table.column_names == ["evaluation", "recording", "counts"] and len(table) == 8
    again = read_evaluations(table)
    assert again.keys() == evaluations.keys()
    for name, evaluation in evaluations.items():
        assert again[name].recordings == evaluation.recordings
        np.testing.assert_array_equal(again[name].counts, evaluation.counts)


def test_a_gain_is_measured_in_standard_errors_of_the_paired_difference():
    worse, classes = make_evaluation(0), np.arange(8)
    counts = worse.counts // 2
    counts[:, classes, classes] += worse.counts.sum(axis=-1) - counts.sum(axis=-1)
    better = Evaluation(worse.recordings, counts)
    gain = better.gain_in_standard_errors(worse)
    assert gain * paired_standard_error([better.counts], [worse.counts], seed=0) == pytest.approx(better.minus(worse)["macro_f1"])
    assert worse.gain_in_standard_errors(better) == pytest.approx(-gain) and gain > 0 == better.gain_in_standard_errors(better)
    one, same = (Evaluation(found.recordings[:1], found.counts[:1]) for found in (better, worse))
    assert one.gain_in_standard_errors(same) is None, "one recording says nothing about others"
