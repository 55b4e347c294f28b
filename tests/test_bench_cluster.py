"""The cluster benchmark: CPU time by kind of process, control groups, and the JSON file."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from abaw_ray.core.errors import ConfigError
from tools.bench.cluster import engine, run, share
from tools.bench.table import metadata, write_rows


def test_the_current_stage_is_that_of_the_last_progress_line():
    log = "generating the data\n  synthetic data: 3 of 9 images\nfaces: 15 of 15 videos to do\n  v1.mp4: no video\n  faces: 1 of 15 videos\nnote: all"
    assert engine.current_stage(log) == "faces"
    assert engine.current_stage("no colon") == "start"


@pytest.mark.parametrize(
    ("title", "stage", "kind"),
    [
        ("/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "faces", "services"),
        ("ray::RuntimeEnvAgent", "faces", "services"),
        ("ray::IDLE", "faces", "starting"),
        ("python -u /site-packages/ray/_private/workers/default_worker.py --node-ip-address=1.2.3.4", "sweep", "starting"),
        ("ray::_StatsActor", "faces", "coordinators"),
        ("ray::MapWorker(MapBatches(_Worker)).submit", "faces", "work"),
        ("python -c from multiprocessing.spawn import spawn_main", "faces", "work"),
        ("driver", "faces", "driver"),
        ("driver", "report", "work"),
    ],
)
def test_the_kind_of_a_process_follows_from_its_title_and_stage(title, stage, kind):
    assert engine.kind_of(title, stage) == kind


def test_titles_are_stored_without_folder_names():
    long = "/home/me/.venv/bin/python -u /home/me/ray/agent.py --logs-dir=/tmp/ray/session_1/logs --host=1.2.3.4"
    assert engine.shorten(long) == "python -u agent.py --logs-dir=logs --host=1.2.3.4"
    assert engine.shorten("ray::IDLE      ") == "ray::IDLE"


def test_cpu_time_is_counted_by_stage_and_process_with_children(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "INTERVAL_S", 0.05)
    burn = "import time\nwhile time.process_time() < 1.5: pass"
    code = f"import subprocess, sys\nprint('faces: begun', flush=True)\nsubprocess.run([sys.executable, '-c', {burn!r}, 'child'])"
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen([sys.executable, "-c", code], stdout=log)
        used = engine.sample_cpu(psutil.Process(job.pid), tmp_path / "log")
    job.wait()
    (child,) = [seconds for (stage, title), seconds in used.items() if stage == "faces" and title.endswith("child")]
    assert 1.0 < child <= 1.6
    assert used["faces", "driver"] < 1.0


CGROUP_VERSIONS = {
    "version 1": (
        ["cpu/bench", "cpuacct/bench"],
        {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "6500", "cpu.shares": "262144"},
        ("cpuacct.usage", "1500000000\n"),
    ),
    "version 2": (["bench"], {"cpu.max": "6500 10000", "cpu.weight": "10000"}, ("cpu.stat", "usage_usec 1500000\nuser_usec 7\n")),
}


@pytest.fixture(params=CGROUP_VERSIONS.values(), ids=CGROUP_VERSIONS.keys())
def cgroups(request, tmp_path):
    """Control groups of either version as files: mount point, the group's folders, the expected limits."""
    names, limits, (usage, text) = request.param
    folders = [tmp_path / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "cgroup.procs").touch()
    for limit in limits:
        (folders[0] / limit).touch()
    (folders[-1] / usage).write_text(text)
    if len(folders) == 1:
        (tmp_path / "cgroup.controllers").write_text("cpu memory")
    return tmp_path, folders, limits


def test_a_process_runs_in_a_group_that_limits_and_counts_its_cpu_time(cgroups):
    mount, folders, limits = cgroups
    with share.cpu_group("bench", min(os.sched_getaffinity(0)), 0.65, mount) as group:
        assert {name: (folders[0] / name).read_text() for name in limits} == limits
        done = subprocess.run([*group.command_prefix, "echo", "a b", "c"], capture_output=True, text=True, check=True)
        assert done.stdout == "a b c\n"
        assert [(folder / "cgroup.procs").read_text() for folder in folders] == ["0\n"] * len(folders)
        assert group.cpu_seconds() == 1.5
        for folder in folders:
            for file in folder.iterdir():
                file.unlink()
    assert not any(folder.exists() for folder in folders)


def test_missing_control_groups_are_a_config_error(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpuacct").mkdir()
    with pytest.raises(ConfigError, match="control groups cannot be used here"), share.cpu_group("bench", 0, 0.5, tmp_path):
        pass


def test_the_file_has_every_figure_and_the_runs_metadata(tmp_path):
    raw = {"machines": {"speed_up": 1.91, "up_s": 60.0, "first_frame_s": 80.0, "lost_s": 30.0, "two_s": [1.23456789]}}
    note = {"command": "python -m tools.bench.cluster", **metadata()}
    write_rows(tmp_path / "out.json", run.FIGURES, note, raw)
    body = json.loads((tmp_path / "out.json").read_text())
    assert body["speed_up"] == 1.91 and body["ray_of_cpu"] is None
    assert body["raw"]["machines"]["two_s"] == [1.2346]
    assert {"command", "date", "machine", "versions", "git"} <= body.keys()
