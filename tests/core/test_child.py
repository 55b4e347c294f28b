import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from child_calls import build_calls, wait_for_end
from timeouts import TIMEOUT_S

from abaw_ray.core.errors import ConfigError, ItemError
from abaw_ray.core.process.child import heartbeat, io_wait
from abaw_ray.core.process.child_process import ChildDied, ChildLimits, ChildProcess


def test_results_come_back_and_the_work_is_built_once(child):
    first = child("builds")
    assert child("echo", {"a": [1.5, None]}) == {"a": [1.5, None]}
    assert child("builds") == first == (1, child.pid)


@pytest.mark.parametrize(
    ("error", "fields"), [(ItemError("cut off", last_frame=7), {"last_frame": 7}), (ConfigError("x"), {}), (TimeoutError(5, "slow"), {"errno": 5})]
)
def test_an_error_of_the_work_is_raised_unchanged_with_its_fields_and_its_traceback(child, error, fields):
    with pytest.raises(type(error)) as found:
        child("fail", error)
    assert str(found.value) == str(error) and {name: getattr(found.value, name) for name in fields} == fields
    assert "in fail" in str(found.value.__cause__)


def test_what_cannot_be_pickled_raises_and_the_child_stays_usable(child):
    pid = child.pid
    with pytest.raises(RuntimeError, match="KeywordOnlyError: code 7"):
        child("fail_with_keyword_only_error")
    with pytest.raises(AttributeError, match="lambda"):
        child("unpicklable")
    with pytest.raises(AttributeError, match="lambda"):
        child("echo", lambda: None)
    assert child("echo", 1) == 1 and child.pid == pid


def test_a_slow_call_that_makes_progress_is_not_killed(child_with_timeout):
    assert child_with_timeout("keep_going", 6, 0.05) > 3


def test_time_in_io_wait_does_not_count_as_time_without_progress(child_with_timeout):
    assert child_with_timeout("read_slowly", 6, 1, 0.01) == 6


def test_a_single_io_wait_beyond_the_limit_ends_the_call_and_is_reported_as_io_wait(child_with_timeout):
    with pytest.raises(ChildDied) as died:
        child_with_timeout("read_slowly", 1, 600)
    assert died.value.in_io_wait and died.value.progress == 5


def test_endless_short_io_waits_without_progress_end_the_call_as_no_progress(child_with_timeout):
    with pytest.raises(ChildDied) as died:
        child_with_timeout("read_slowly", 60_000, 0, 0.001)
    assert died.value.progress == 5 and died.value.reason == "no progress for 4 s"


@pytest.mark.parametrize("call", [("allocate", 4096), ("allocate_slowly",)])
def test_memory_beyond_the_limit_raises_and_the_next_call_has_the_whole_limit(call):
    with ChildProcess(build_calls, ChildLimits(memory_mb=128)) as child:
        with pytest.raises(MemoryError):
            child(*call)
        assert child.pid is None
        assert child("allocate", 64) == 64 << 20


def test_a_child_ignores_ctrl_c(child):
    child("echo", 1)
    os.kill(child.pid, signal.SIGINT)
    assert child("builds") == (1, child.pid)


SCRIPT = """
import child_calls
from abaw_ray.core.process.child_process import ChildLimits, ChildProcess
open({log!r}, "a").write("ran\\n")
child = ChildProcess(child_calls.build_calls, ChildLimits())  # neither a main guard nor a close
print(*child("environment"), child.pid, flush=True)
{more}
"""


def start_script(tmp_path, more):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(log=str(tmp_path / "log"), more=more))
    here = Path(__file__)
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {"PYTHONPATH": f"{here.parent}{os.pathsep}{here.parents[2]}"}
    return subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)


def test_a_script_without_a_main_guard_is_not_run_again_and_exits_without_close(tmp_path):
    with start_script(tmp_path, "") as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0 and (tmp_path / "log").read_text() == "ran\n"
    threads, main, pid = output.split()
    assert (threads, main) == ("1", "None")
    wait_for_end(int(pid))


@pytest.mark.parametrize("call", [("stall", 1), ("hang_in_c",)])
def test_a_child_does_not_outlive_its_parent(tmp_path, call):
    with start_script(tmp_path, f"child('print_then', *{call!r})") as process:
        pid = int(process.stdout.readline().split()[-1])
        assert process.stdout.readline().strip() == call[0]  # the child runs the call
        process.kill()
    wait_for_end(pid)


def test_heartbeat_and_io_wait_outside_a_child_do_nothing():
    heartbeat(3)
    with io_wait():
        pass
