"""The nested search of tools/data: what it holds out, and the differences that it prints."""

from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.scoring.evaluation import Evaluation
from tools.data import nested_search
from tools.data.nested_search import compare, evaluate, joined, score_outer_fold
from tools.data.synthetic_search import SyntheticData, run_search, selected_again

CONFIG = SweepConfig(fusion=FusionConfig(hidden_dim=16, epochs=2, batch_size=128), trials=2, candidates=2, folds=2)


@pytest.fixture(scope="module")
def data(frames):
    """All subjects of the frames, as Train_Set."""
    subjects = tuple(replace(one, split="train") for one in frames.subjects)
    of_train = replace(frames, subjects=subjects)
    labels = {one.name: of_train.labels[of_train.subject_index == index] for index, one in enumerate(subjects)}
    return SyntheticData(of_train, labels, CONFIG)


@pytest.fixture(scope="module")
def results(data):
    return run_search(data, data.folds())


def test_the_search_has_all_trials_and_the_chosen_candidate_is_selected_again(data, results):
    assert len(results) == CONFIG.trials * CONFIG.candidates and results[0]["changes"] == {}
    candidate = next(row for row in results if not row["stopped"])
    again = selected_again(data, data.folds(), candidate["changes"])
    assert again.selection.in_sample.pooled == candidate["score"]
    assert again.epochs.final == candidate["epochs"]


def test_the_outer_fold_is_hidden_from_the_search(data, monkeypatch):
    held_out = [name for name, fold in data.folds().items() if fold == 0]
    hidden, searched = {recording_of(name) for name in held_out}, []

    def spy(data, folds, mode="fused"):
        searched.append({recording_of(name) for name in folds})
        return run_search(data, folds, mode)

    monkeypatch.setattr(nested_search, "run_search", spy)
    evaluation = score_outer_fold(data, held_out)
    assert searched and not searched[0] & hidden
    assert set(evaluation.recordings) == hidden
    assert evaluation.counts.sum() == sum((data.labels[name] >= 0).sum() for name in held_out)


def test_all_kinds_count_the_same_frames(data):
    found = evaluate(data, "seed 0")
    assert set(found) == set(nested_search.KINDS)
    assert len({evaluation.recordings for evaluation in found.values()}) == 1
    for evaluation in found.values():
        np.testing.assert_array_equal(evaluation.counts.sum(axis=2), found["nested"].counts.sum(axis=2))
    figures = compare({0: found})
    assert figures["minus_nested"]["in-sample"]["macro_f1"] == pytest.approx(figures["scores"]["in-sample"][0] - figures["scores"]["nested"][0])


def test_the_parts_of_the_outer_folds_are_joined_by_recording():
    counts = np.arange(3 * 64).reshape(3, 8, 8)
    whole = joined([Evaluation(("b",), counts[1:2]), Evaluation(("a", "c"), counts[[0, 2]])])
    assert whole.recordings == ("a", "b", "c")
    np.testing.assert_array_equal(whole.counts, counts)
