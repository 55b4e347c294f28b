"""The tool that measures what a cluster gives and costs: whose CPU time is whose, and what its file holds."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from abaw_ray.core.errors import ConfigError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool():
    """A module of the tool by the end of its name."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return {name: importlib.import_module(f"bench_{name}") for name in ("cluster", "engine", "machines", "share", "table")}
    finally:
        sys.path.remove(str(ROOT / "tools"))


def test_the_stage_is_the_one_that_was_spoken_of_last(tool):
    said = "drawing the data\n  drawing: 3 of 9 pictures\nfaces: 15 of 15 videos to do\n  v1.mp4: not a video\n  faces: 1 of 15 videos\nnote: all"
    assert tool["engine"].stage_of(said) == "faces"
    assert tool["engine"].stage_of("no colon") == "start"


@pytest.mark.parametrize(
    ("title", "stage", "kind"),
    [
        ("/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "faces", "services"),
        ("ray::RuntimeEnvAgent", "faces", "services"),
        ("ray::IDLE", "faces", "starting"),
        ("python -u /site-packages/ray/_private/workers/default_worker.py --node-ip-address=1.2.3.4", "sweep", "starting"),
        ("ray::_StatsActor", "faces", "books"),
        ("ray::MapWorker(MapBatches(_Worker)).submit", "faces", "work"),
        ("python -c from multiprocessing.spawn import spawn_main", "faces", "work"),
        ("driver", "faces", "driver"),
        ("driver", "report", "work"),
    ],
)
def test_whose_work_a_process_does_is_told_by_its_title(tool, title, stage, kind):
    assert tool["engine"].kind_of(title, stage) == kind


def test_titles_are_kept_without_the_folders_of_the_machine(tool):
    long = "/home/me/.venv/bin/python -u /home/me/ray/agent.py --logs-dir=/tmp/ray/session_1/logs --host=1.2.3.4"
    assert tool["engine"].short(long) == "python -u agent.py --logs-dir=logs --host=1.2.3.4"
    assert tool["engine"].short("ray::IDLE      ") == "ray::IDLE"


def test_cpu_time_is_told_by_stage_and_process_children_included(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool["engine"], "EVERY", 0.05)
    burn = "import time\nwhile time.process_time() < 1.5: pass"
    code = f"import subprocess, sys\nprint('faces: begun', flush=True)\nsubprocess.run([sys.executable, '-c', {burn!r}, 'child'])"
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen([sys.executable, "-c", code], stdout=log)
        used = tool["engine"].watched(psutil.Process(job.pid), tmp_path / "log")
    job.wait()
    (child,) = [seconds for (stage, title), seconds in used.items() if stage == "faces" and title.endswith("child")]
    assert 1.0 < child <= 1.6
    assert used["faces", "driver"] < 1.0


@pytest.mark.parametrize(
    ("group", "limits"),
    [
        ("bench", {"cpu.max": "6500 10000", "cpu.weight": "10000"}),
        ("cpu/bench", {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "6500", "cpu.shares": "262144"}),
    ],
    ids=["version 2", "version 1"],
)
def test_a_machine_starts_in_a_group_that_limits_its_cpu_time(tool, tmp_path, group, limits):
    group = tmp_path / group
    group.mkdir(parents=True)
    files = [group / name for name in (*limits, "cgroup.procs")]
    if "cpu.max" in limits:
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    for file in files:
        file.touch()
    with tool["share"].cpu_share("bench", min(os.sched_getaffinity(0)), 0.65, tmp_path) as bound:
        assert {name: (group / name).read_text() for name in limits} == limits
        said = subprocess.run([*bound, "echo", "a b", "c"], capture_output=True, text=True, check=True)
        assert said.stdout == "a b c\n"
        assert files[-1].read_text() == "0\n"
        for file in files:
            file.unlink()
    assert not group.exists()


def test_without_groups_a_machine_can_only_have_a_whole_cpu(tool, tmp_path):
    (tmp_path / "cpu").mkdir()
    with pytest.raises(ConfigError, match="--share 1"), tool["share"].cpu_share("bench", 0, 0.5, tmp_path):
        pass
    with tool["share"].cpu_share("bench", 1, 1, tmp_path) as bound:
        assert bound == ("taskset", "-c", "1")


def test_the_file_has_every_figure_and_what_the_run_was(tool, tmp_path):
    raw = {"machines": {"speed_up": 1.91, "up_s": 60.0, "first_frame_s": 80.0, "lost_s": 30.0, "two_s": [1.23456789]}}
    note = {"command": "python tools/bench_cluster.py", **tool["table"].stamp()}
    tool["table"].write_rows(tmp_path / "out.json", tool["cluster"].FIGURES, note, raw)
    body = json.loads((tmp_path / "out.json").read_text())
    assert body["speed_up"] == 1.91 and body["engine_of_cpu"] is None
    assert body["raw"]["machines"]["two_s"] == [1.2346]
    assert {"command", "date", "machine", "versions", "git"} <= body.keys()
