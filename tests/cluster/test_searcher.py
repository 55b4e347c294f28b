"""Order and content of the trials that the searcher suggests to Ray Tune, without Ray."""

from dataclasses import asdict

import pytest
from ray.tune.search import Searcher

from abaw_ray.cluster.stages.stage_two.searcher import PopulationSearcher
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.proposals import CandidateScores

CONFIG = SweepConfig(trials=5, ahead=2, candidates=3)


def results_of(suggestion):
    """Results of a trial that follow from its candidates alone: the higher the learning rate, the better."""
    rows = [CandidateScores(one, [0.1, 0.2 + one.get("optim.lr", 1e-4)], stopped=False) for one in suggestion["candidates"]]
    return {"scores": [asdict(row) for row in rows], "macro_f1": 0.2}


def run(completion_order, config=CONFIG, modes=("fused",)):
    """All suggestions by mode and number, where of the running trials ``completion_order`` selects the next one to finish; at most three run."""
    finished, running, found, started = [], {}, {}, 0
    searcher = PopulationSearcher(config, modes, lambda: finished.append(None))
    while True:
        suggestion = None
        if len(running) < 3:
            suggestion = searcher.suggest(f"trial-{started}")
        if isinstance(suggestion, dict):
            running[f"trial-{started}"] = suggestion
            found[suggestion["mode"], suggestion["number"]] = suggestion["candidates"]
            started += 1
        elif running:
            name = completion_order(list(running))
            searcher.on_trial_complete(name, results_of(running.pop(name)))
        else:
            assert suggestion == Searcher.FINISHED and len(finished) == len(found)
            return found


def test_a_trial_waits_for_the_results_that_its_proposals_read():
    searcher = PopulationSearcher(CONFIG, ("fused",), lambda: None)
    first, second = searcher.suggest("a"), searcher.suggest("b")
    assert (first["number"], second["number"]) == (0, 1)
    assert searcher.suggest("c") is None, "the third trial reads the results of the first"
    searcher.on_trial_complete("b", results_of(second))
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", results_of(first))
    assert searcher.suggest("c")["number"] == 2
    assert searcher.suggest("d")["number"] == 3, "it reads the first and the second, not the third, which still runs"
    assert searcher.suggest("e") is None


@pytest.mark.parametrize("modes", [("fused",), ("fused", "visual", "speech")])
def test_the_candidates_do_not_depend_on_the_order_in_which_trials_finish(modes):
    first, last = run(lambda names: names[0], modes=modes), run(lambda names: names[-1], modes=modes)
    assert first == last and sorted(first) == [(mode, number) for mode in sorted(modes) for number in range(5)]
    assert first["fused", 0] != first["fused", 1] and all(len(candidates) == 3 for candidates in first.values())
    assert first["fused", 0][0] == {}, "the settings of the sweep unchanged"


def test_a_larger_sweep_begins_with_the_trials_of_a_smaller_one():
    small, large = run(lambda names: names[0]), run(lambda names: names[0], SweepConfig(trials=7, ahead=2, candidates=3))
    assert {key: large[key] for key in small} == small and len(large) == 7


@pytest.mark.parametrize(("result", "error"), [(None, True), ({"macro_f1": 0.1}, False), (None, False)])
def test_after_a_trial_that_failed_no_further_one_is_suggested(result, error):
    finished = []
    searcher = PopulationSearcher(CONFIG, ("fused",), lambda: finished.append(None))
    second = [searcher.suggest("a"), searcher.suggest("b")][1]
    searcher.on_trial_complete("a", result, error=error)
    assert searcher.suggest("c") == Searcher.FINISHED
    searcher.on_trial_complete("b", results_of(second))
    assert searcher.suggest("c") == Searcher.FINISHED and len(finished) == 1
