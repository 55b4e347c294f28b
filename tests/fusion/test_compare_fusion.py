"""The comparison of fusion models of tools/data on small frames."""

from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.fusion import search
from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.scoring.config import SmoothingGridConfig
from abaw_ray.scoring.evaluation import Evaluation
from tools.data.compare_fusion import BASE, VIEWS, compare, evaluate, score_searched, score_variant
from tools.data.synthetic_search import SyntheticData

CONFIG = SweepConfig(fusion=FusionConfig(hidden_dim=16, epochs=2, batch_size=128, window_s=2.0), trials=1, candidates=2, folds=2)


@pytest.fixture(scope="module")
def data(frames):
    train = {one.name: frames.labels[frames.subject_index == index] for index, one in enumerate(frames.subjects) if one.split == "train"}
    return SyntheticData(frames, train, CONFIG)


@pytest.fixture(scope="module")
def found(data):
    return evaluate(data, "seed 0", ["conv"])


def test_every_variant_counts_the_frames_of_every_view(found, frames):
    assert {variant for variant, _ in found} == {BASE, "conv", "attention", "searched", "searched, conv"}
    for view in VIEWS:
        totals = [one.counts.sum(axis=2) for (_, seen), one in found.items() if seen == view]
        assert all((total == totals[0]).all() for total in totals)
    rows = frames.rows_of_subjects(frames.subject_names("val"))
    assert found[BASE, "validation"].counts.sum() == (frames.labels[rows] >= 0).sum()


def test_a_search_for_a_head_has_candidates_with_that_head_alone(data, monkeypatch):
    seen = []
    trained = search.run_population

    def recorded(frames, folds, config, candidates, **options):
        seen.extend(search.candidate_config(config, one).head for one in candidates)
        return trained(frames, folds, config, candidates, **options)

    monkeypatch.setattr(search, "run_population", recorded)
    score_searched(replace(data, config=replace(CONFIG, trials=2)), data.folds(), "conv")
    assert seen == ["conv"] * 2 * CONFIG.candidates


def test_smoothing_changes_the_score_of_validation(data, found):
    smooth = replace(data, config=replace(CONFIG, smoothing=SmoothingGridConfig(windows=1, min_s=4.0, max_s=4.0, unsmoothed=False)))
    views = score_variant(smooth, smooth.folds(), {})
    assert (views["validation"].counts != views["validation, unsmoothed"].counts).any()


def test_the_difference_is_the_mean_over_seeds_and_has_an_interval():
    rng = np.random.default_rng(0)
    totals = rng.integers(20, 40, (6, 8))
    right = np.einsum("ri,ij->rij", totals, np.eye(8, dtype=int))
    wrong = np.einsum("ri,ij->rij", totals, np.roll(np.eye(8, dtype=int), 1, axis=1))
    names = tuple("abcdef")
    evaluations = {}
    for view in VIEWS:
        evaluations[BASE, view] = [Evaluation(names, wrong), Evaluation(names, wrong)]
        evaluations["searched", view] = [Evaluation(names, right), Evaluation(names, wrong)]
        evaluations["searched, conv", view] = [Evaluation(names, right), Evaluation(names, right)]
    rows = compare(evaluations)
    by_variant = {variant: [row for row in rows if row["variant"] == variant] for variant in ("searched", "searched, conv")}
    half, whole = ({"macro_f1": pytest.approx(value), "interval": pytest.approx([value, value])} for value in (0.5, 1.0))
    assert [row["scores"] for row in by_variant["searched"]] == [[1.0, 0.0]] * 3
    assert all(row["from_unsearched"] == half and "from_searched" not in row for row in by_variant["searched"])
    assert all(row["from_unsearched"] == whole and row["from_searched"] == half for row in by_variant["searched, conv"])
