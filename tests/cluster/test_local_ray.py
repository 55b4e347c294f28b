"""The start of a local Ray on a machine that is too busy for it: it is repeated, and nothing of a failed attempt stays."""

import contextlib
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray

from abaw_ray.cluster.machines import local_ray
from abaw_ray.core.errors import StageError

TOO_SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup."
"""Ray's message, without its end."""


class Starts:
    """Takes the place of ``ray.init``: the first ``failing`` calls start a process of Ray's, which itself has a child, and one of another thread, and
    raise ``error``.
    """

    def __init__(self, failing, error):
        self.failing, self.error, self.calls, self.started, self.left, self.others = failing, error, [], [], [], []

    def __call__(self, **options):
        self.calls.append(options)
        if len(self.calls) > self.failing:
            return
        child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); import time; time.sleep(600)'])"
        process = subprocess.Popen(
            [sys.executable, "-c", child, str(Path(ray.__file__).parent / "core/src/ray/raylet/raylet")], stdout=subprocess.PIPE
        )
        self.others.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))
        process.stdout.readline()
        process.stdout.close()
        self.started.append(process)
        self.left += [psutil.Process(process.pid), *psutil.Process(process.pid).children()]
        raise self.error


@pytest.fixture
def starts(monkeypatch):
    made = []

    def replace(failing, error):
        made.append(Starts(failing, error))
        monkeypatch.setattr(ray, "init", made[-1])
        return made[-1]

    yield replace
    for one in made:
        for process in [*one.left, *one.others]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for process in [*one.started, *one.others]:
            process.wait()


def test_a_start_that_is_too_slow_is_repeated_and_its_processes_are_ended(starts, capsys):
    started = starts(2, Exception(TOO_SLOW))
    local_ray.start(num_cpus=2)
    assert started.calls == [{"address": "local", "num_cpus": 2}] * 3
    assert len(started.left) == 4 and not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in started.left)
    assert [one.poll() for one in started.others] == [None, None], "a process of another thread is none of Ray's"
    assert capsys.readouterr().out.splitlines() == [f"Ray's processes started too slowly: attempt {number} of 3" for number in (2, 3)]


def test_after_the_last_attempt_the_error_says_what_to_do(starts):
    started = starts(9, Exception(TOO_SLOW))
    with pytest.raises(StageError, match=r"in 3 attempts \(The current node timed out during startup\); most often .*: end some"):
        local_ray.start()
    assert len(started.calls) == 3


def test_another_error_is_raised_at_once(starts):
    started = starts(9, ValueError("num_cpus must be at least 0"))
    with pytest.raises(ValueError, match="num_cpus"):
        local_ray.start(num_cpus=-1)
    assert len(started.calls) == 1
