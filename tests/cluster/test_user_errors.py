"""Errors of Ray's runtime environments become errors of the package in one line."""

from ray.exceptions import RuntimeEnvSetupError
from ray.train import ControllerError

from abaw_ray.cluster.engine.user_errors import to_user_error

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
