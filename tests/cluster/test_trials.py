"""Trials that are lost with their processes, machines or memory are run again, and the command ends with one line when that does not help."""

from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError

from abaw_ray.cluster.engine.trials import FinishedTrials, run_rounds
from abaw_ray.core.errors import DataError, StageError
from abaw_ray.core.progress import Progress

MEMORY = "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.77.0.3, ID: 6763) was 22.45GB used / 23.54GB limit"
KILLED = RuntimeError("Caught unexpected exception")
KILLED.__cause__ = OutOfMemoryError(MEMORY)
LOST = ActorDiedError()


def run(*rounds):
    """Run rounds with these outcomes: the number of finished trials, and the error that Tune raises or the errors of trials."""
    shown, made = Progress("sweep", 9, "trials"), []
    finished = FinishedTrials(shown)

    class Tuner:
        def fit(self):
            count, error = rounds[len(made)]
            made.append(count)
            for _ in range(count):
                finished.add()
            if isinstance(error, Exception):
                raise error
            return SimpleNamespace(errors=error)

    try:
        run_rounds(Tuner, finished, "fusion", "lower it")
    finally:
        run.shown, run.rounds = shown.done, len(made)


def test_lost_trials_are_run_again_and_finished_ones_are_counted_once(capsys):
    run((2, [LOST]), (3, KILLED), (9, []))
    assert (run.shown, run.rounds) == (9, 3)
    lines = capsys.readouterr().out.splitlines()
    assert any(
        "it was lost in every attempt (The actor died unexpectedly" in line and line.endswith("; unfinished trials are run again") for line in lines
    )
    assert any("10.77.0.3 has too little memory for it" in line for line in lines)


def test_rounds_are_counted_since_the_last_one_in_which_a_further_trial_finished():
    run((1, KILLED), (2, KILLED), (3, KILLED), (4, KILLED), (9, []))
    assert run.rounds == 5
    with pytest.raises(StageError, match=r"^fusion: a trial: 10\.77\.0\.3 has too little memory for it .*; lower it$"):
        run((1, KILLED), (2, KILLED), *[(2, KILLED)] * 9)
    assert run.rounds == 5, "two in which a trial finished, and three in which none did"
    run((0, KILLED), (0, KILLED), (1, KILLED), (9, []))
    with pytest.raises(StageError, match=r"^fusion: a trial: it was lost in every attempt"):
        run(*[(0, [LOST])] * 9)
    assert run.rounds == 3


def test_other_errors_end_the_trials_at_once():
    with pytest.raises(RuntimeError, match="^broken$"):
        run((1, RuntimeError("broken")))
    for error in (DataError("x.parquet: no rows"), StageError("no rows")):
        with pytest.raises(type(error), match="no rows"):
            run((1, [LOST, RayTaskError("trial", "traceback", error)]))
        assert run.rounds == 1
