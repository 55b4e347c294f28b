from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.scoring.calibration import Calibration
from abaw_ray.scoring.config import CalibrationConfig, SmoothingConfig
from abaw_ray.scoring.fill import fill_labels
from abaw_ray.scoring.metrics import confusion_matrix, macro_f1
from abaw_ray.scoring.postprocessing import Postprocessing, predict_labels
from abaw_ray.scoring.selection import OutOfFoldScores, select_postprocessing

PLAIN, BIAS = CalibrationConfig(method="none"), CalibrationConfig(method="bias")
PRIOR = np.exp(-np.arange(8) / 2) / np.exp(-np.arange(8) / 2).sum()
GRID = tuple(SmoothingConfig(window_s=window_s) for window_s in (0.0, 1.0, 3.0, 30.0))


def videos(signal=1.0, hold=90, count=15, seed=0, frames=900, prior=None):
    """Out-of-fold scores of subjects whose expressions last ``hold`` frames; logits are one-hot codes with noise, and a tenth is not scored."""
    rng, found = np.random.default_rng(seed), []
    for index in range(count):
        labels = np.repeat(rng.choice(8, size=frames // hold, p=prior), hold).astype(np.int8)
        logits = signal * np.eye(8)[labels] + rng.normal(size=(frames, 8)) + (0 if prior is None else np.log(prior))
        scored = rng.random(frames) < 0.9
        labels[rng.random(frames) < 0.2] = -1
        logits[~scored] = np.nan
        time = np.arange(frames) / 30
        found.append(OutOfFoldScores(name=str(index), fold=index % 5, logits=logits.astype(np.float32), time=time, scored=scored, labels=labels))
    return found


def slow_score(some, postprocessing):
    labels = np.concatenate([video.labels for video in some])
    predicted = [fill_labels(predict_labels(postprocessing.probabilities(video.logits, video.time, video.scored)), 0) for video in some]
    return macro_f1(confusion_matrix(labels, np.concatenate(predicted)))


def test_the_window_that_fits_the_expressions_is_chosen_and_the_table_shows_the_whole_grid():
    choice = select_postprocessing(videos(), GRID, default=0)
    assert choice.postprocessing.smoothing.window_s == 1.0
    assert [row["window_s"] for row in choice.table] == [0.0, 1.0, 3.0, 30.0]
    assert max(choice.table, key=lambda row: row["macro_f1"])["window_s"] == 1.0


def test_scores_agree_with_scoring_each_setting_frame_by_frame():
    some = videos(count=10)
    choice = select_postprocessing(some, GRID, default=0, calibration=PLAIN, threads=2)
    for row, smoothing in zip(choice.table, GRID, strict=True):
        postprocessing = Postprocessing(smoothing=smoothing, calibration=Calibration(temperature=choice.postprocessing.calibration.temperature))
        assert row["macro_f1"] == pytest.approx(slow_score(some, postprocessing), abs=1e-12)
        assert row["folds"] == pytest.approx([slow_score([video for video in some if video.fold == fold], postprocessing) for fold in range(5)])
    assert choice.in_sample.pooled == pytest.approx(slow_score(some, choice.postprocessing))
    assert choice.in_sample.folds == pytest.approx(choice.table[GRID.index(choice.postprocessing.smoothing)]["folds"])
    assert macro_f1(choice.confusion_matrices.sum(axis=0)) == choice.in_sample.pooled == pytest.approx(np.mean(choice.in_sample.per_class))


@pytest.mark.parametrize("method", [PLAIN, BIAS])
def test_a_fold_is_scored_with_the_values_selected_on_the_other_folds(method):
    some = videos(signal=0.4, hold=30, count=10, frames=300)
    choice = select_postprocessing(some, GRID, default=0, calibration=method)
    for fold in range(5):
        others = select_postprocessing([video for video in some if video.fold != fold], GRID, default=0, calibration=method).postprocessing
        assert choice.cross_fitted.folds[fold] == pytest.approx(slow_score([video for video in some if video.fold == fold], others))


def test_a_dominant_fold_does_not_select_the_values_of_its_own_cross_fitted_score():
    restless = [replace(video, fold=0) for video in videos(signal=9.0, hold=3, count=12)]
    calm = [replace(video, fold=1 + index % 2) for index, video in enumerate(videos(signal=0.3, hold=450, count=4, seed=1))]
    choice = select_postprocessing(restless + calm, GRID, default=0, calibration=PLAIN)
    others = select_postprocessing(calm, GRID, default=0, calibration=PLAIN).postprocessing
    assert choice.postprocessing.smoothing.window_s < 1 < others.smoothing.window_s
    assert choice.cross_fitted.folds[0] == pytest.approx(slow_score(restless, others)) != pytest.approx(choice.in_sample.folds[0])


def test_labels_of_the_held_out_fold_do_not_affect_its_selected_values():
    some, rng = videos(signal=0.4, hold=30, count=10, frames=300), np.random.default_rng(1)
    grid = tuple(SmoothingConfig(window_s=window_s) for window_s in np.linspace(0, 6, 30).tolist())
    before = select_postprocessing(some, grid, default=0, calibration=BIAS)
    assert before.in_sample.mean > before.cross_fitted.mean  # thirty windows and eight biases on noise: the in-sample score is optimistic
    changed = [replace(video, labels=video.labels if video.fold else rng.integers(0, 8, 300).astype(np.int8)) for video in some]
    others = [video for video in some if video.fold]
    after = select_postprocessing(changed, grid, default=0, calibration=BIAS)
    postprocessing = select_postprocessing(others, grid, default=0, calibration=BIAS).postprocessing
    assert after.cross_fitted.folds[0] == pytest.approx(slow_score([video for video in changed if not video.fold], postprocessing))


def test_the_held_out_fold_does_not_affect_its_own_temperature():
    some = videos(count=10, frames=360)
    confident = [replace(video, logits=video.logits * (5 if video.fold == 0 else 1)) for video in some]
    others = [video for video in confident if video.fold]
    choice, without = (select_postprocessing(given, GRID, default=0, calibration=BIAS) for given in (confident, others))
    assert choice.postprocessing.calibration.temperature > 1.2 * without.postprocessing.calibration.temperature
    held_out = [video for video in confident if not video.fold]
    assert choice.cross_fitted.folds[0] == pytest.approx(slow_score(held_out, without.postprocessing))


def test_a_bias_helps_where_training_was_unbalanced_on_the_other_folds_too():
    some = videos(signal=1.5, count=20, prior=PRIOR)
    plain, biased = (select_postprocessing(some, GRID[1:2], default=0, calibration=one) for one in (PLAIN, BIAS))
    assert biased.cross_fitted.mean > plain.cross_fitted.mean + 0.02
    assert biased.postprocessing.calibration.bias[7] > biased.postprocessing.calibration.bias[0]


def test_by_default_the_bias_is_used_where_it_gains_on_folds_that_did_not_choose_it():
    some = videos(signal=1.5, count=20, prior=PRIOR)
    choice, plain, biased = (select_postprocessing(some, GRID[1:2], default=0, calibration=one) for one in (None, PLAIN, BIAS))
    assert choice.bias.used and plain.bias is None and biased.bias.used
    assert choice.postprocessing == biased.postprocessing
    assert choice.cross_fitted == choice.bias.with_bias == biased.cross_fitted
    assert choice.bias.without_bias == plain.cross_fitted
    np.testing.assert_array_equal(choice.bias.with_bias_matrices, biased.cross_fitted_matrices)
    np.testing.assert_array_equal(choice.bias.without_bias_matrices, plain.cross_fitted_matrices)
    assert choice.in_sample.pooled == pytest.approx(slow_score(some, choice.postprocessing))


def test_by_default_a_bias_that_gains_only_in_sample_is_left_out():
    some = videos(signal=0.0, count=10, frames=90)  # nothing to learn: whatever the bias gains, other folds do not
    choice, plain, biased = (select_postprocessing(some, GRID[1:2], default=0, calibration=one) for one in (None, PLAIN, BIAS))
    assert biased.in_sample.pooled > plain.in_sample.pooled and biased.bias.with_bias.pooled < plain.cross_fitted.pooled
    assert not choice.bias.used
    assert (choice.postprocessing, choice.in_sample, choice.cross_fitted) == (plain.postprocessing, plain.in_sample, plain.cross_fitted)
    assert choice.bias.with_bias == biased.cross_fitted


def test_of_equally_good_settings_the_first_is_selected():
    grid = (SmoothingConfig(window_s=0.97), SmoothingConfig(window_s=0.98))  # 29 frames either way
    assert select_postprocessing(videos(count=5), grid, default=0).postprocessing.smoothing is grid[0]


def test_a_subject_without_any_score_has_the_default_label():
    some = videos(count=5)
    unscored = OutOfFoldScores(
        name="x", fold=0, logits=np.full((40, 8), np.nan), time=np.arange(40) / 30, scored=np.zeros(40, bool), labels=np.full(40, 6, np.int8)
    )
    choice = select_postprocessing([*some, unscored], GRID[:1], default=6)
    assert choice.confusion_matrices[-1][6, 6] == 40


def test_selection_needs_two_folds_a_grid_and_labels():
    some = videos(count=5, frames=90)
    with pytest.raises(ValueError, match="1 folds and 4 settings"):
        select_postprocessing(some[:1], GRID, default=0)
    with pytest.raises(ValueError, match="5 folds and 0 settings"):
        select_postprocessing(some, (), default=0)
    bare = [replace(video, labels=np.full(90, -1, np.int8)) for video in some]
    with pytest.raises(ValueError, match="no labelled frame in any fold"):
        select_postprocessing(bare, GRID, default=0)
    with pytest.raises(ValueError, match="no labelled frame to fit a temperature on"):
        select_postprocessing([some[0], *bare[1:]], GRID, default=0)


def test_each_round_selects_from_and_scores_with_its_own_models():
    """As for a number of epochs that is chosen without the fold: the fold is scored by the models of that choice, which the other folds selected."""
    final, other = videos(signal=0.6, hold=30, count=10, frames=300), videos(signal=0.3, hold=30, count=10, frames=300)
    rounds = [other if fold == 2 else final for fold in range(5)]
    mixed = select_postprocessing(final, GRID, default=0, calibration=PLAIN, subjects_without_fold=rounds)
    plain, others = (select_postprocessing(some, GRID, default=0, calibration=PLAIN) for some in (final, other))
    assert mixed.in_sample == plain.in_sample and mixed.postprocessing == plain.postprocessing
    assert mixed.cross_fitted.folds[2] == others.cross_fitted.folds[2] != plain.cross_fitted.folds[2]
    assert [score for fold, score in enumerate(mixed.cross_fitted.folds) if fold != 2] == [
        score for fold, score in enumerate(plain.cross_fitted.folds) if fold != 2
    ]
    assert mixed.scores_without_fold[2] == others.scores_without_fold[2]
    assert macro_f1(mixed.cross_fitted_matrices.sum(axis=0)) == mixed.cross_fitted.pooled


def test_the_score_without_a_fold_is_that_of_the_other_folds_with_what_they_select():
    some = videos(signal=0.4, hold=30, count=10, frames=300)
    choice = select_postprocessing(some, GRID, default=0, calibration=PLAIN)
    for fold in range(5):
        rest = [video for video in some if video.fold != fold]
        of_the_rest = select_postprocessing(rest, GRID, default=0, calibration=PLAIN)
        assert choice.scores_without_fold[fold] == pytest.approx(of_the_rest.in_sample.pooled)
        matrices = choice.matrices_without_fold[fold][[video.fold != fold for video in some]]
        np.testing.assert_array_equal(matrices, of_the_rest.confusion_matrices)
