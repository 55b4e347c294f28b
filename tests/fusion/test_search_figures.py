import numpy as np
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.population.epochs import EpochChoice
from abaw_ray.fusion.search import _Finalists, best_candidate, search_figures
from abaw_ray.fusion.selected import Selected, selection_figures
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.fold_metrics import FoldMetrics
from abaw_ray.scoring.metrics import macro_f1
from abaw_ray.scoring.postprocessing import Postprocessing
from abaw_ray.scoring.selection import BiasComparison, SelectionResult


def make_result(seed, score, without_fold, *, correct):
    """A finalist's result with two recordings in each of two folds."""
    rng = np.random.default_rng(seed)
    counts, in_sample = (
        [[rng.multinomial(50, np.eye(8)[row] * share + (1 - share) / 8).tolist() for row in range(8)] for _ in range(4)]
        for share in (correct, correct + 0.1)
    )
    score = macro_f1(np.sum(in_sample, axis=0)) if score is None else score
    return {
        "stopped": False,
        "score": score,
        "without_fold": without_fold,
        "changes": {"dropout": 0.1 * seed},
        "recordings": {
            f"recording {index}": {
                "fold": index % 2,
                "counts": counts[index],
                "in_sample_counts": in_sample[index],
                "without_fold_counts": [in_sample[index]] * 2,
            }
            for index in range(4)
        },
        "selection": {"in_sample": {"pooled": score, "interval": [score - 0.1, score + 0.1]}},
    }


def make_evaluation(seed):
    """Four recordings with the same annotations for any seed."""
    rng = np.random.default_rng(seed)
    counts = np.array([[rng.multinomial(20 + 5 * row, np.eye(8)[row] * 0.5 + 1 / 16) for row in range(8)] for _ in range(4)])
    return Evaluation(tuple(f"recording {number}" for number in range(4)), counts)


@pytest.fixture
def results():
    return [make_result(2, 0.6, [0.7, 0.5], correct=0.5), {"stopped": True}, make_result(1, None, [0.5, 0.9], correct=0.7)]


def test_each_fold_of_the_cross_fitted_score_is_that_of_the_best_candidate_on_the_other_folds(results):
    best = best_candidate(results, 0.0)
    assert best.index == 2
    chosen = {0: results[0], 1: results[2]}
    counts = {fold: np.sum([row["counts"] for row in one["recordings"].values() if row["fold"] == fold], axis=0) for fold, one in chosen.items()}
    assert best.cross_fitted.folds == pytest.approx([macro_f1(counts[0]), macro_f1(counts[1])])
    assert best.cross_fitted.pooled == pytest.approx(macro_f1(counts[0] + counts[1]))
    low, high = best.evaluation.interval()
    assert low <= best.cross_fitted.pooled <= high


def test_the_unchanged_settings_are_used_unless_the_best_candidate_exceeds_them_by_the_least_gain():
    unchanged = make_result(0, None, [0.4, 0.4], correct=0.6) | {"changes": {}}
    slightly, clearly = make_result(3, None, [0.5, 0.5], correct=0.61), make_result(4, None, [0.4, 0.4], correct=0.8)
    gain = best_candidate([slightly], 0.0).in_sample.gain_in_standard_errors(best_candidate([unchanged], 0.0).in_sample)
    assert gain > 0
    results = [slightly, unchanged]
    kept, replaced = best_candidate(results, gain * 1.01), best_candidate(results, gain * 0.99)
    assert (kept.index, kept.highest, replaced.index, replaced.highest) == (1, 0, 0, 0)
    assert best_candidate([slightly], 9.0).index == 0  # without the unchanged settings, the highest score
    assert best_candidate([unchanged, slightly, clearly], 1.0).index == 2
    # each fold of the cross-fitted score has the choice on the other fold
    for least, chosen in ((0.0, slightly), (1e9, unchanged)):
        counts = [row["counts"] for row in chosen["recordings"].values()]
        np.testing.assert_array_equal(best_candidate(results, least).evaluation.counts, counts)


def diagonal(correct):
    """A confusion matrix with ten frames of each class, of which so many are correct."""
    return (correct * np.eye(8, dtype=int) + (10 - correct) * np.roll(np.eye(8, dtype=int), 1, axis=1)).tolist()


def fold_result(changes, without_fold, in_sample, correct):
    """A finalist's result with two recordings in each of three folds; ``without_fold[fold][k]`` is what the choice without fold k scores."""
    recordings = {
        f"recording {index}": {
            "fold": index % 3,
            "counts": diagonal(correct),
            "in_sample_counts": diagonal(in_sample[index % 3]),
            "without_fold_counts": [diagonal(one) for one in without_fold[index % 3]],
        }
        for index in range(6)
    }
    return {"stopped": False, "score": 0.7, "without_fold": [0.7] * 3, "changes": changes, "recordings": recordings}


def test_the_choice_without_a_fold_compares_what_was_selected_without_it_on_the_recordings_of_the_others():
    unchanged = fold_result({}, [[6] * 3] * 3, [6] * 3, correct=4)
    # Better without the folds 0 and 2, worse without 1. The held-out fold, and what is selected on all folds, say the opposite.
    candidate = fold_result({"dropout": 0.1}, [[0, 5, 8], [9, 10, 8], [9, 5, 0]], [0, 10, 0], correct=3)
    counts = best_candidate([candidate, unchanged], 1.0).evaluation.counts
    assert [int(one.trace()) // 8 for one in counts] == [3, 4, 3] * 2


def test_one_recording_does_not_replace_the_unchanged_settings():
    candidate, unchanged = (
        {**one, "recordings": {"recording 0": one["recordings"]["recording 0"]}, "without_fold": [0.5]}
        for one in (make_result(1, 0.9, [], correct=0.9), make_result(0, 0.4, [], correct=0.4) | {"changes": {}})
    )
    finalists = _Finalists({0: candidate, 1: unchanged}, 1.0)
    assert (finalists.highest(), finalists.best()) == (0, 1)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_least_gain_that_is_negative_or_not_finite_is_refused(value):
    with pytest.raises(ConfigError, match=rf"sweep.min_gain_se={value} must be a finite number from 0; 0 takes the candidate with the highest score"):
        SweepConfig(min_gain_se=value)


def test_the_bias_of_a_selection_and_its_optimism_have_paired_differences():
    evaluations = {name: make_evaluation(seed) for seed, name in enumerate(("in_sample", "cross_fitted", "without"))}
    metrics = {
        name: FoldMetrics(folds=(0.1, 0.2), pooled=macro_f1(one.counts.sum(axis=0)), per_class=(0.1,) * 8) for name, one in evaluations.items()
    }
    counts = {name: one.counts for name, one in evaluations.items()}
    selection = SelectionResult(
        postprocessing=Postprocessing(),
        in_sample=metrics["in_sample"],
        cross_fitted=metrics["cross_fitted"],
        temperatures=(1.0, 1.0),
        bias=BiasComparison(
            used=True,
            with_bias=metrics["cross_fitted"],
            without_bias=metrics["without"],
            with_bias_matrices=counts["cross_fitted"],
            without_bias_matrices=counts["without"],
        ),
        scores_without_fold=(0.1, 0.2),
        matrices_without_fold=np.stack([counts["cross_fitted"]] * 2),
        cross_fitted_matrices=counts["cross_fitted"],
        table=[],
        confusion_matrices=counts["in_sample"],
    )
    nothing = np.zeros((0, 8), np.float32)
    selected = Selected(EpochChoice(3, (2, 3)), selection, nothing, nothing[:, 0], evaluations["in_sample"].recordings)
    figures = selection_figures(selected, 7)
    for found, more, less in (
        (figures["optimism"], "in_sample", "cross_fitted"),
        (figures["bias"]["difference"], "cross_fitted", "without"),
    ):
        assert found["macro_f1"] == pytest.approx(metrics[more].pooled - metrics[less].pooled)
        assert found == evaluations[more].minus(evaluations[less]) and found["interval"][0] < found["interval"][1]
    assert figures["in_sample"]["per_class_intervals"] == evaluations["in_sample"].per_class_intervals()
    assert (figures["cross_fitted"]["interval"], figures["rows"]) == (evaluations["cross_fitted"].interval(), 7)


def test_the_optimism_of_a_search_is_its_in_sample_minus_its_cross_fitted_score_with_a_paired_interval(results):
    best = best_candidate(results, 0.0)
    figures = search_figures(results, best)
    assert (figures["candidates"], figures["chosen"]) == (3, 2)
    optimism = figures["optimism"]
    assert optimism["macro_f1"] == pytest.approx(figures["in_sample"]["pooled"] - figures["cross_fitted"]["pooled"])
    rows = results[2]["recordings"]
    chosen = Evaluation(tuple(rows), np.array([row["in_sample_counts"] for row in rows.values()]))
    assert optimism == chosen.minus(best.evaluation) and optimism["interval"][0] < optimism["macro_f1"] < optimism["interval"][1]
    assert figures["cross_fitted"]["interval"] == best.evaluation.interval() and figures["in_sample"] == results[2]["selection"]["in_sample"]
