"""Proposals of populations for Ray Tune, from the results of earlier ones."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.proposals import CandidateScores, propose


class PopulationSearcher(Searcher):
    """Suggests populations in their order. One is suggested once the results of those more than ``ahead`` before it exist."""

    def __init__(self, config: SweepConfig, on_complete: Callable[[], None]) -> None:
        """Begin with the first population; ``on_complete`` is called after each."""
        super().__init__(metric="macro_f1", mode="max")
        self._config, self._on_complete = config, on_complete
        self._next = 0
        self._numbers: dict[str, int] = {}
        self._results: dict[int, list[CandidateScores]] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next population and its candidates; None while it must wait."""
        number = self._next
        if number >= self._config.populations:
            return Searcher.FINISHED
        read = range(max(0, number - self._config.ahead))
        if any(earlier not in self._results for earlier in read):
            return None
        self._next += 1
        self._numbers[trial_id] = number
        return {"population": number, "candidates": propose(self._config, number, [self._results[earlier] for earlier in read])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep the results of a population."""
        if result is not None and not error and "results" in result:
            self._results[self._numbers[trial_id]] = [CandidateScores(**one) for one in result["results"]]
            self._on_complete()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: results are in storage, and proposals follow from them."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as ``save``."""
