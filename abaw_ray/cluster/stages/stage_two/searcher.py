"""Proposals of trials for Ray Tune, from the results of earlier ones."""

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.proposals import CandidateScores, propose


class PopulationSearcher(Searcher):
    """Suggests trials in their order, of each mode in turn; a mode's trial once the results of those at least ``ahead`` before it exist."""

    def __init__(self, config: SweepConfig, modes: Sequence[str], on_complete: Callable[[], None]) -> None:
        """Begin with the first trial; ``on_complete`` is called after each."""
        super().__init__(metric="macro_f1", mode="max")
        self._config, self._on_complete = config, on_complete
        self._waiting = [(mode, number) for number in range(config.trials) for mode in modes]
        self._running: dict[str, tuple[str, int]] = {}
        self._results: dict[tuple[str, int], list[CandidateScores]] = {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial (a dict) and its candidates; None while it must wait; ``FINISHED`` after the last."""
        if not self._waiting:
            return Searcher.FINISHED
        mode, number = self._waiting[0]
        read = [(mode, earlier) for earlier in range(max(0, number - self._config.ahead + 1))]
        if any(earlier not in self._results for earlier in read):
            return None
        self._running[trial_id] = self._waiting.pop(0)
        return {"mode": mode, "number": number, "candidates": propose(self._config, number, [self._results[earlier] for earlier in read])}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep the results of a trial. Where one fails, those that build on it are never suggested, and Tune ends with the others."""
        if result is None or error or "scores" not in result:
            self._waiting.clear()
            return
        self._results[self._running[trial_id]] = [CandidateScores(**one) for one in result["scores"]]
        self._on_complete()

    def save(self, checkpoint_path: str) -> None:
        """Nothing: results are in storage, and proposals follow from them."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as ``save``."""
