from ray.exceptions import RuntimeEnvSetupError
from ray.train import ControllerError

from abaw_ray.cluster.engine.user_errors import to_user_error

PAGES = """Could not create the actor because its associated runtime env failed to be created.
[Node 10.77.0.3] Traceback (most recent call last):
  File "logging/__init__.py", line 1192, in close
    self.flush()
OSError: [Errno 28] No space left on device

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "runtime_env_agent.py", line 561, in _create_runtime_env_with_retry
OSError: [Errno 28] No space left on device
"""


def test_the_machine_and_the_last_reason_are_in_one_line():
    said = str(to_user_error(RuntimeEnvSetupError(error_message=PAGES)))
    assert said.startswith("10.77.0.3: Ray cannot start a process there (OSError: [Errno 28] No space left on device);")
    assert "\n" not in said


def test_it_is_found_inside_a_training_error():
    assert "10.77.0.3" in str(to_user_error(ControllerError(RuntimeEnvSetupError(error_message=PAGES))))


def test_another_error_is_none_of_it():
    assert to_user_error(RuntimeError("CUDA out of memory")) is None


def test_without_any_reason_it_is_still_one_line():
    assert "a machine: Ray cannot start a process there (no reason is given)" in str(to_user_error(RuntimeEnvSetupError()))
