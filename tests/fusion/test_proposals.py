import math
from dataclasses import replace

import optuna
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import replace_at
from abaw_ray.fusion.config import FusionConfig, SearchSpaceConfig, SweepConfig
from abaw_ray.fusion.proposals import CandidateScores, importance, propose

CONFIG = SweepConfig(trials=8, candidates=6, ahead=2)


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def macro_f1(overrides):
    return 0.5 - 0.1 * abs(math.log10(overrides.get("optim.lr", 1e-3)) + 2.3) - 0.05 * overrides.get("dropout", 0.3)


def run(config, populations):
    finished = []
    for number in range(populations):
        candidates = propose(config, number, finished[: max(0, number - config.ahead + 1)])
        scores = [macro_f1(one) for one in candidates]
        middle = sorted(scores)[len(scores) // 2]
        finished.append(
            [
                CandidateScores(one, [0.9 * score] if score < middle else [0.9 * score, score], score < middle)
                for one, score in zip(candidates, scores, strict=True)
            ]
        )
    return finished


def test_proposals_follow_from_settings_and_results_alone():
    one, other = run(CONFIG, 5), run(CONFIG, 5)
    assert one == other
    assert [candidate.overrides for candidate in run(replace(CONFIG, seed=1), 1)[0]] != [candidate.overrides for candidate in one[0]]
    assert run(replace(CONFIG, trials=20), 5) == one  # a larger sweep begins with a smaller one


def test_a_large_seed_is_a_seed_as_any_other():
    one = propose(replace(CONFIG, seed=1_234_567_890), 0, [])
    assert one == propose(replace(CONFIG, seed=1_234_567_890), 0, []) != propose(CONFIG, 0, [])


def test_the_first_candidate_is_the_given_settings_and_its_population_has_their_architecture():
    config = replace(CONFIG, fusion=replace(CONFIG.fusion, hidden_dim=256))
    first = propose(config, 0, [])
    assert first[0] == {}
    assert {one["hidden_dim"] for one in first[1:]} == {256}


def test_the_candidates_of_a_population_share_its_architecture_and_lie_within_the_space():
    for results in run(CONFIG, 6):
        configs = [replace_at(CONFIG.fusion, one.overrides) for one in results]
        assert len({one.shape() for one in configs}) == 1
        space = CONFIG.search_space
        assert all(space.lr[0] <= one.optim.lr <= space.lr[1] and space.dropout[0] <= one.dropout <= space.dropout[1] for one in configs)


def test_later_populations_are_better_than_the_first_ones():
    results = run(CONFIG, 8)
    means = [sum(macro_f1(one.overrides) for one in population) / len(population) for population in results]
    assert sum(means[5:]) / 3 > sum(means[:3]) / 3


def test_settings_outside_of_the_search_space_are_tried_but_not_learned_from():
    config = replace(CONFIG, fusion=replace(FusionConfig(), hidden_dim=48))
    results = run(config, 4)
    assert results[0][0].overrides == {}
    assert all(one.overrides["hidden_dim"] in config.search_space.hidden_dim for one in results[1])


def test_the_head_is_a_choice_of_each_population_where_the_search_space_has_several():
    fixed, searched = run(CONFIG, 8), run(replace(CONFIG, search_space=SearchSpaceConfig(head=("frame", "conv", "attention"))), 8)
    assert {name for results in fixed for one in results for name in one.overrides}.isdisjoint({"head"}), "that of the given settings stays"
    heads = [{one.overrides.get("head", "frame") for one in results} for results in searched]
    assert all(len(of_population) == 1 for of_population in heads) and set.union(*heads) > {"frame"}


def test_choices_of_which_no_model_can_be_made_are_refused():
    with pytest.raises(ConfigError, match=r"fusion\.head=conv needs windows of two or more rows: fusion\.rows_per_second=0"):
        SweepConfig(search_space=SearchSpaceConfig(head=("frame", "conv"), rows_per_second=(5.0, 0.0)))
    with pytest.raises(ConfigError, match="must be a multiple of 4"):
        SweepConfig(search_space=SearchSpaceConfig(head=("attention",), hidden_dim=(64, 70)))


def test_a_fixed_setting_stays_fixed():
    config = replace(CONFIG, search_space=SearchSpaceConfig(hidden_dim=(64,), dropout=(0.2, 0.2)))
    assert {one["dropout"] for one in propose(config, 1, [])} == {0.2}


def test_the_setting_that_matters_most_has_the_highest_importance():
    found = importance(CONFIG, run(CONFIG, 8))
    assert max(found, key=found.__getitem__) == "optim.lr"
    assert importance(CONFIG, []) == {} and found.keys().isdisjoint({"head", "rows_per_second"}), "settings with one value"
