"""Trials of Ray Tune: they are run again where they were lost with a process, a machine or its memory.

Tune fails a trial at once if its process is lost just before the trial starts (while a reused process is being reset), and ends with an error if one
is killed for lack of memory. Trials that had finished are read from storage when they are run again; that is the part of the trainable.
"""

from collections.abc import Callable
from typing import Any

from abaw_ray.cluster.engine.user_errors import MORE_MEMORY, task_death_error, unwrapped
from abaw_ray.core.errors import StageError
from abaw_ray.core.progress import Progress, echo

_MAX_ROUNDS = 3
"""Runs of all trials, one after the other, in which none finishes that had not finished before. In each, Tune makes three attempts at a trial, or one
if it is killed for lack of memory. Ours."""


class FinishedTrials:
    """Counts finished trials for the terminal; one that is run again to read its result is not counted twice."""

    def __init__(self, shown: Progress) -> None:
        """Count from 0."""
        self.count, self._now, self._shown = 0, 0, shown

    def begin(self) -> None:
        """All trials are run again."""
        self._now = 0

    def add(self) -> None:
        """One more trial of this round has finished."""
        self._now += 1
        self._shown.step(max(0, self._now - self.count))
        self.count = max(self.count, self._now)


def run_rounds(make_tuner: Callable[[], Any], finished: FinishedTrials, work: str, remedy: str = MORE_MEMORY) -> Any:
    """Run all trials, again if some were lost; returns Tune's results, none of which has an error.

    Args:
        make_tuner: Makes the ``ray.tune.Tuner`` of a round.
        finished: Counts the trials; the tuner's callbacks call ``add``.
        work: Stage, for messages.
        remedy: What to do where trials are killed for lack of memory.

    Raises:
        StageError: trials were lost in each of several rounds in which no further trial finished.
        AbawError: as the first trial that failed otherwise.
    """
    rounds = 0
    while True:
        before = finished.count
        finished.begin()
        try:
            results = fit_trials(make_tuner(), work, remedy)
        except StageError as error:
            lost = error
        else:
            if not (lost := lost_trials_error(results, work, remedy)):
                return results
        rounds = 0 if finished.count > before else rounds + 1
        if rounds == _MAX_ROUNDS:
            raise lost
        cause, _, _ = str(lost).partition(";")
        echo(f"  {cause}; unfinished trials are run again")


def fit_trials(tuner: Any, work: str, remedy: str = MORE_MEMORY) -> Any:
    """Run all trials of a ``ray.tune.Tuner`` and return Tune's results, which hold the errors of failed trials.

    Args:
        tuner: The tuner.
        work: Stage, for messages.
        remedy: What to do where a trial was killed for lack of memory.

    Raises:
        StageError: a trial was killed for lack of memory. Tune has no case for it: it ends all trials with a ``RuntimeError``.
    """
    from ray.exceptions import OutOfMemoryError

    try:
        return tuner.fit()
    except RuntimeError as error:
        if not isinstance(error.__cause__, OutOfMemoryError):
            raise
        raise task_death_error(f"{work}: a trial", str(error.__cause__), remedy) from error


def lost_trials_error(results: Any, work: str, remedy: str) -> StageError | None:
    """The error for trials that were lost with their processes or machines; None if there are none.

    Raises:
        AbawError: as the first trial that failed otherwise; any other error of a trial is raised as it is.
    """
    from ray.exceptions import RayActorError

    for error in results.errors:
        if not isinstance(error, RayActorError):
            raise unwrapped(error)
    return task_death_error(f"{work}: a trial", str(results.errors[0]), remedy) if results.errors else None
