import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from deeds import deeds, wait_for_end

from abaw_ray.core.errors import ConfigError, ItemError
from abaw_ray.core.process.child import beat, waiting
from abaw_ray.core.process.child_process import ChildDied, ChildLimits, ChildProcess


def test_results_come_back_and_the_work_is_built_once(watched):
    first = watched("builds")
    assert watched("echo", {"a": [1.5, None]}) == {"a": [1.5, None]}
    assert watched("builds") == first == (1, watched.pid)


@pytest.mark.parametrize(
    ("error", "fields"), [(ItemError("cut off", last_frame=7), {"last_frame": 7}), (ConfigError("x"), {}), (TimeoutError(5, "slow"), {"errno": 5})]
)
def test_what_the_work_raises_comes_out_as_itself_with_its_fields_and_its_traceback(watched, error, fields):
    with pytest.raises(type(error)) as found:
        watched("fail", error)
    assert str(found.value) == str(error) and {name: getattr(found.value, name) for name in fields} == fields
    assert "in fail" in str(found.value.__cause__)


def test_what_cannot_pass_between_processes_is_told_and_breaks_nothing(watched):
    pid = watched.pid
    with pytest.raises(RuntimeError, match="PickyError: code 7"):
        watched("fail_picky")
    with pytest.raises(AttributeError, match="lambda"):
        watched("unpicklable")
    with pytest.raises(AttributeError, match="lambda"):
        watched("echo", lambda: None)
    assert watched("echo", 1) == 1 and watched.pid == pid


def test_a_slow_call_that_shows_progress_is_left_alone(hasty):
    assert hasty("keep_going", 2, 0.05) > 3


def test_time_in_a_wait_does_not_add_to_the_time_without_progress(hasty):
    assert hasty("read_slowly", 6, 0.35, 0.1) == 6


def test_a_wait_that_is_too_long_itself_is_not_the_works_fault(hasty):
    with pytest.raises(ChildDied) as died:
        hasty("read_slowly", 1, 600)
    assert died.value.waiting and died.value.reached == 5


def test_work_that_reads_for_ever_without_progress_is_at_fault_itself(hasty):
    with pytest.raises(ChildDied) as died:
        hasty("read_slowly", 5000, 0, 0.001)
    assert died.value.reached == 5 and died.value.reason == "no progress for 1 s"


@pytest.mark.parametrize("deed", [("take", 4096), ("take_slowly",)])
def test_memory_beyond_the_limit_is_refused_and_the_next_call_has_all_of_it(deed):
    with ChildProcess(deeds, ChildLimits(memory_mb=128)) as watched:
        with pytest.raises(MemoryError):
            watched(*deed)
        assert watched.pid is None
        assert watched("take", 64) == 64 << 20


def test_a_child_ignores_ctrl_c(watched):
    watched("echo", 1)
    os.kill(watched.pid, signal.SIGINT)
    assert watched("builds") == (1, watched.pid)


SCRIPT = """
import deeds
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
open({log!r}, "a").write("ran\\n")
watched = ChildProcess(deeds.deeds, ChildLimits())  # neither a main guard nor a close
print(*watched("environment"), watched.pid, flush=True)
{more}
"""


def start_script(tmp_path, more):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(log=str(tmp_path / "log"), more=more))
    here = Path(__file__)
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"PYTHONPATH": f"{here.parent}{os.pathsep}{here.parents[2]}"}
    return subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_script_without_a_main_guard_is_not_run_again_and_its_end_does_not_hang(tmp_path):
    with start_script(tmp_path, "") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and (tmp_path / "log").read_text() == "ran\n"
    threads, main, pid = said.split()
    assert (threads, main) == ("1", "None")
    wait_for_end(int(pid))


@pytest.mark.parametrize("deed", [("stall", 1), ("hang_in_c",)])
def test_a_child_does_not_outlive_its_parent(tmp_path, deed):
    with start_script(tmp_path, f"watched('say_and', *{deed!r})") as process:
        pid = int(process.stdout.readline().split()[-1])
        assert process.stdout.readline().strip() == deed[0]  # the child is at it
        process.kill()
    wait_for_end(pid)


def test_beats_and_waits_outside_a_child_do_nothing():
    beat(3)
    with waiting():
        pass
