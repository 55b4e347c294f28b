"""Options of a job, and its output after an unexpected exception."""

import signal
import sys

import pytest

from abaw_ray.cluster.engine.run import RunConfig
from abaw_ray.cluster.launch.command import parse, run_command
from abaw_ray.cluster.launch.config import EncoderJob, FeaturesJob, PipelineConfig, SweepJob
from abaw_ray.fusion.config import SweepConfig


@pytest.fixture
def submitted(monkeypatch, tmp_path):
    """The environment and arguments of a submitted job; restores the signal handlers afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("RAY_JOB_ID", "raysubmit_1")
    monkeypatch.setattr(sys, "argv", ["jobs/some.py", "one", "--storage", str(tmp_path)])
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_defect_shows_its_traceback_and_the_last_line_names_the_error(submitted, capsys):
    def finish(run, records):
        raise ZeroDivisionError("of\nall things")

    with pytest.raises(SystemExit) as ended:
        run_command({"one": ("the only one", RunConfig())}, lambda: ([], finish))
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert "Traceback" in printed.err and "finish(run, records)" in printed.err
    assert printed.out.strip().splitlines()[-1] == "exit=1 error: ZeroDivisionError: of all things"


@pytest.mark.parametrize(
    ("job", "options"),
    [
        (EncoderJob, ["--optim.lr", "3e-5"]),
        (EncoderJob, ["--encoder.optim.lr", "3e-5"]),
        (FeaturesJob, ["--encoder.optim.lr=3e-5"]),
        (SweepJob, ["--encoder.optim.lr", "3e-5", "--sweep.trials", "64"]),
        (SweepJob, ["--encoder.optim.lr=3e-5", "--trials=64"]),
        (PipelineConfig, ["--encoder.optim.lr", "3e-5", "--sweep.trials", "64"]),
    ],
)
def test_an_option_has_the_same_name_in_every_job_and_needs_no_prefix_in_its_own(job, options):
    config = parse({"paper": ("as published", job())}, ["paper", *options])
    assert config.encoder.optim.lr == 3e-5 and getattr(config, "sweep", SweepConfig(trials=64)).trials == 64
