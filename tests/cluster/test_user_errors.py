"""Errors of Ray's runtime environments become errors of the package in one line."""

import pytest
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, RuntimeEnvSetupError, WorkerCrashedError
from ray.train import ControllerError

from abaw_ray.cluster.engine.user_errors import fetch, to_user_error
from abaw_ray.core.errors import DataError, StageError

MESSAGE = """Could not create the actor because its associated runtime env failed to be created.
[Node 10.77.0.3] Traceback (most recent call last):
  File "logging/__init__.py", line 1192, in close
    self.flush()
OSError: [Errno 28] No space left on device

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "runtime_env_agent.py", line 561, in _create_runtime_env_with_retry
OSError: [Errno 28] No space left on device
"""


def test_a_runtime_env_error_becomes_one_line_with_the_machine_and_the_last_reason():
    line = str(to_user_error(RuntimeEnvSetupError(error_message=MESSAGE)))
    assert line.startswith("10.77.0.3: Ray cannot start a process there (OSError: [Errno 28] No space left on device);")
    assert "\n" not in line


def test_a_runtime_env_error_is_found_inside_a_training_error():
    assert "10.77.0.3" in str(to_user_error(ControllerError(RuntimeEnvSetupError(error_message=MESSAGE))))


def test_other_errors_are_not_converted():
    assert to_user_error(RuntimeError("CUDA out of memory")) is None


def test_a_runtime_env_error_without_a_reason_says_that_none_is_given():
    assert "a machine: Ray cannot start a process there (no reason is given)" in str(to_user_error(RuntimeEnvSetupError()))


MEMORY = "1 worker(s) were killed. Memory on the node (IP: 10.77.0.3, ID: 6763) was 22.45GB used / 23.54GB limit (0.95)\nOOM kill reason: was 1B"


def wrapped(cause):
    """The error of a task that needs the result of one that has failed."""
    return RayTaskError("final_cv", "Traceback", cause)


@pytest.mark.parametrize("error", [OutOfMemoryError(MEMORY), wrapped(OutOfMemoryError(MEMORY))])
def test_a_task_that_was_killed_for_memory_names_the_machine_and_the_remedy(monkeypatch, error):
    monkeypatch.setattr("ray.get", lambda ref: (_ for _ in ()).throw(error))
    with pytest.raises(StageError) as raised:
        fetch("ref", "predictions", "lower it")
    text = "predictions: 10.77.0.3 has too little memory for it (22.45GB of 23.54GB were in use when it was killed); lower it"
    assert str(raised.value) == text


@pytest.mark.parametrize("error", [WorkerCrashedError(), NodeDiedError("the node 6763 died"), wrapped(WorkerCrashedError())])
def test_a_task_that_was_lost_otherwise_says_how(monkeypatch, error):
    monkeypatch.setattr("ray.get", lambda ref: (_ for _ in ()).throw(error))
    with pytest.raises(StageError, match=r"^predictions: it was lost in every attempt \(.* died.*\); see `ray list nodes`"):
        fetch("ref", "predictions")


def test_other_errors_of_tasks_are_raised_without_rays_wrapping(monkeypatch):
    monkeypatch.setattr("ray.get", lambda ref: (_ for _ in ()).throw(wrapped(DataError("a.parquet: no rows"))))
    with pytest.raises(DataError, match=r"^a\.parquet: no rows$"):
        fetch("ref", "predictions")
    monkeypatch.setattr("ray.get", lambda ref: (_ for _ in ()).throw(wrapped(KeyError("x"))))
    with pytest.raises(RayTaskError):
        fetch("ref", "predictions")
