"""An analysis leaves a record where it runs on a cluster or writes to an object store, and none beside a clip on a laptop."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from abaw_ray.cli.runs import main
from abaw_ray.cluster.engine.run import Policy, Run
from abaw_ray.cluster.launch.analysis import run_analysis
from abaw_ray.cluster.launch.config import AnalyzeConfig, VideosConfig
from abaw_ray.cluster.machines import autoscaler
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.media.write import write_video
from abaw_ray.predict.config import cache_config

pytestmark = pytest.mark.slow


@pytest.fixture
def analyze(model, tmp_path):
    """A function that analyzes one file in this process; returns the output folder."""

    def run(session, name="clip.mp4"):
        clip = tmp_path / name
        if name == "clip.mp4":
            frames = (np.full((64, 96, 3), 40 + index, np.uint8) for index in range(4))
            write_video(clip, frames, np.arange(4) / 4, None, preset="ultrafast")
        else:
            clip.write_text("no video")
        storage = cache_config(StorageConfig(uri=str(tmp_path / "out"), attempts=1))
        config = AnalyzeConfig(model=str(model), storage=storage, data=VideosConfig(videos=(str(clip),)), policy=Policy(max_failures=0.0))
        run_analysis(Run(config, session(config.compute), command="analyze"))

    return run


class Joined(RaySession):
    """A session on a cluster that exists; no worker is needed for one small clip."""

    shared = True  # pyright: ignore[reportAssignmentType]


@pytest.fixture
def cluster(monkeypatch):
    """A cluster with one machine, whose status Ray would give."""
    node = SimpleNamespace(instance_type_name="g5.xlarge", ray_node_type_name="gpu", node_id="1")
    monkeypatch.setattr(autoscaler, "cluster_status", lambda: SimpleNamespace(active_nodes=[node], idle_nodes=[], pending_nodes=[]))


def test_a_clip_on_a_laptop_leaves_no_record(analyze, tmp_path, capsys):
    analyze(RaySession)
    assert main("runs", [str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.endswith("no runs\n")
    assert not list(tmp_path.glob("out/**/runs"))


def test_an_analysis_on_a_cluster_leaves_its_hours_in_the_cache_of_the_output(analyze, cluster, tmp_path, capsys):
    analyze(Joined)
    assert not (tmp_path / "out/runs").exists()
    capsys.readouterr()
    assert main("runs", [str(tmp_path / "out"), "--show", "last", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["command"], record["status"]) == ("analyze", "done")
    assert record["stages"]["analysis"]["machine_hours"].keys() == {"g5.xlarge"} and record["usd"] is None


def test_an_analysis_that_failed_is_recorded_with_its_error(analyze, cluster, tmp_path, capsys):
    with pytest.raises(StageError):
        analyze(Joined, name="text.mp4")
    capsys.readouterr()
    assert main("runs", [str(tmp_path / "out"), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["status"] == "failed" and "text.mp4" in record["error"] and not record["stages"]["analysis"]["finished"]
