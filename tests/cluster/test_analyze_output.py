"""What ``abaw-ray analyze`` prints with ``--quiet`` and ``--json``, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.media.write import write_video

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
NOISY = """
import os, sys, time, warnings
from abaw_ray.cluster.stages.analysis import work as analysis_work
from abaw_ray.cli.main import main
load = analysis_work.load_model
def noisy(*args):
    loaded = load(*args)
    time.sleep({seconds})
    print("from a library", flush=True)
    sys.stderr.write("Loading weights: 100%")
    warnings.warn("deprecated")
    os.write(1, b"from C++")
    os.write(2, b"from C++")
    return loaded
analysis_work.load_model = noisy
main()
"""
"""The command with a model that prints while it is loaded."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with a video without a face, and a text that is called a video."""
    folder = tmp_path_factory.mktemp("videos")
    tone = 0.3 * np.sin(np.arange(16_000) * 0.1).astype(np.float32)
    write_video(folder / "good.mp4", (np.full((64, 96, 3), 40 + index, np.uint8) for index in range(8)), np.arange(8) / 8, tone, preset="veryfast")
    (folder / "text.mp4").write_text("no video")
    return folder


def analyze(*args, code=None, **environment):
    """Run the command; returns the finished process."""
    start = [sys.executable, "-c", code] if code else [sys.executable, "-m", "abaw_ray"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([*start, "analyze", *map(str, args)], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_json_names_the_files_of_good_videos_and_the_reasons_of_others(model, videos, tmp_path):
    done = analyze(videos, "--model", model, "-o", tmp_path, "--format", "csv,parquet", "--overlay", "--json")
    result = json.loads(done.stdout)
    assert (done.returncode, result["exit_code"], result["error"]) == (0, 0, None)
    assert result["counts"] == {"videos": 2, "analyzed": 1, "failed": 1, "people": 1, "rows": 8}
    (video,) = result["videos"]
    assert (video["video"], video["source"], video["failure"]) == ("good.mp4", str(videos / "good.mp4"), None)
    assert video["files"] == {
        "csv": f"{tmp_path}/good.csv",
        "parquet": f"{tmp_path}/good.parquet",
        "page": f"{tmp_path}/good.html",
        "overlay": f"{tmp_path}/good.overlay.mp4",
    }
    assert all(Path(path).is_file() for path in [*video["files"].values(), *result["files"].values()])
    assert result["files"].keys() == {"summary", "episodes", "pages", "failures", "run"}
    assert (video["people"][0]["person"], video["people"][0]["share_heard"]) == ("main", 1.0)
    assert "scored by the sound alone" in video["notes"][0]
    assert [(row["video"], "not a video" in row["reason"]) for row in result["failures"]] == [("text.mp4", True)]
    assert (result["model"]["name"], result["model"]["license"]["id"], result["model"]["identity"]) == ("tiny", "apache-2.0", "tiny-1")
    assert result["notes"][0].startswith("This model was trained on generated faces") and result["seconds"] > 0
    assert result["versions"].keys() >= {"abaw_ray", "torch", "numpy"}
    assert "analysis: 2 of 2 videos to do" in done.stderr and "summary:" in done.stderr


def test_without_a_good_video_json_has_the_error_and_the_exit_code(model, videos, tmp_path):
    done = analyze(videos / "text.mp4", "--model", model, "-o", tmp_path, "--json")
    result = json.loads(done.stdout)
    assert done.returncode == result["exit_code"] == 5
    assert result["error"].startswith("analysis: 1 of 1 items failed") and result["videos"] == []
    assert [row["video"] for row in result["failures"]] == ["text.mp4"]
    assert done.stderr.splitlines()[-1] == f"error: {result['error']}"


def test_too_many_failures_are_an_error_and_the_good_videos_are_listed(model, videos, tmp_path):
    (tmp_path / "other.mp4").write_text("no video either")
    done = analyze(videos, tmp_path / "other.mp4", "--model", model, "-o", tmp_path / "out", "--json", "--max-failures", "0.5")
    result = json.loads(done.stdout)
    assert done.returncode == result["exit_code"] == 5 and "2 of 3 items failed" in result["error"]
    assert [video["video"] for video in result["videos"]] == ["good.mp4"]


def test_quiet_prints_nothing_and_an_error_is_one_line(model, videos, tmp_path):
    done = analyze(videos, "--model", model, "-o", tmp_path, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "good.csv").is_file() and (tmp_path / "failures.csv").is_file()
    failed = analyze(videos / "text.mp4", "--model", model, "-o", tmp_path / "none", "--quiet", RAY_JOB_ID="raysubmit_1")
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr.startswith("error: analysis: 1 of 1 items failed") and failed.stderr.count("\n") == 1


def test_the_output_of_libraries_appears_in_neither(model, videos, tmp_path):
    args = ("--model", model, "-o", tmp_path)
    good = analyze(videos / "good.mp4", *args, "--json", code=NOISY.format(seconds=0))
    assert json.loads(good.stdout)["exit_code"] == 0
    assert not {"library", "Loading", "deprecated", "C++"} & set(good.stderr.replace(":", " ").split())
    # The model is still being loaded when the only video has failed.
    failed = analyze(videos / "text.mp4", *args, "--quiet", code=NOISY.format(seconds=2))
    assert (failed.returncode, failed.stdout, failed.stderr.count("\n")) == (5, "", 1) and failed.stderr.startswith("error: ")
    logs = "".join(path.read_text() for path in (tmp_path / ".cache/logs").iterdir())
    assert logs.count("from a library") == logs.count("deprecated") == 2


def test_the_log_of_a_job_has_the_line_with_the_exit_code_and_stdout_stays_json(model, videos, tmp_path):
    done = analyze(videos / "good.mp4", "--model", model, "-o", tmp_path, "--no-report", "--json", RAY_JOB_ID="raysubmit_1")
    result = json.loads(done.stdout)
    assert done.stderr.splitlines()[-1] == "exit=0"
    assert result["videos"][0]["files"].keys() == {"csv"} and "pages" not in result["files"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--json"], "abaw-ray analyze: no videos are given"),
        (["a.mp4", "--json", "--fps", "x"], "--fps x: give a number"),
        (["a.mp4", "--json", "--quiet"], "--quiet and --json: choose one"),
        (["a.mp4", "--json", "--plan"], "--plan and --json: a plan is printed as text only"),
        (["missing.mp4", "--json", "--model", "MODEL"], "missing.mp4: no such file"),
    ],
)
def test_json_also_reports_an_error_before_the_first_video(args, message, model, tmp_path):
    done = analyze(*[str(model) if arg == "MODEL" else arg for arg in args], "-o", tmp_path / "out")
    result = json.loads(done.stdout)
    assert done.returncode == result["exit_code"] > 0
    assert message in result["error"] and done.stderr.splitlines()[-1] == f"error: {result['error']}"


@pytest.mark.parametrize("args", [["--quiet"], ["a.mp4", "--quiet", "--plan"]])
def test_quiet_prints_an_invalid_command_line_as_one_line(args):
    done = analyze(*args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1) and done.stderr.startswith("error: ")
