"""A command that runs stages: its output after an unexpected exception, its log, and a plan that leaves no file."""

import os
import signal

import pytest

from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.cluster.launch.command import run_command
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.filesystems import StorageConfig


@pytest.fixture
def submitted(monkeypatch):
    """The environment of a submitted job; restores the signal handlers afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("RAY_JOB_ID", "raysubmit_1")
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(config, work) -> int:
    with pytest.raises(SystemExit) as ended:
        run_command("some", lambda: config, lambda: work)
    return ended.value.code


def test_a_defect_shows_its_traceback_and_the_last_line_names_the_error(submitted, tmp_path, capsys):
    def work(run):
        raise ZeroDivisionError("of\nall things")

    assert run(RunConfig(storage=StorageConfig(uri=str(tmp_path))), work) == 1
    printed = capsys.readouterr()
    assert "Traceback" in printed.err and "load()(Run(config, session" in printed.err
    assert printed.out.strip().splitlines()[-1] == "exit=1 error: ZeroDivisionError: of all things"


def test_an_invalid_command_line_is_one_line_and_its_exit_code(submitted, capsys):
    def parse():
        raise ConfigError("--chips jpg: choose jpeg or none")

    with pytest.raises(SystemExit) as ended:
        run_command("some", parse, lambda: print)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (2, "error: --chips jpg: choose jpeg or none\n")
    assert printed.out == "exit=2 error: --chips jpg: choose jpeg or none\n"


def test_the_output_of_libraries_goes_to_a_log_and_that_of_a_plan_to_no_file(submitted, tmp_path, capfd):
    def work(run):
        os.write(1, b"from a library\n")
        os.write(2, b"and an error\n")
        echo("for the user")

    for plan in (True, False):
        folder = tmp_path / str(plan)
        assert run(RunConfig(storage=StorageConfig(uri=str(folder)), plan=plan), work) == 0
        assert capfd.readouterr().out.splitlines()[0] == "for the user"
        assert [path.read_text() for path in folder.glob("logs/some-*.log")] == ([] if plan else ["from a library\nand an error\n"])
        assert folder.exists() is not plan
