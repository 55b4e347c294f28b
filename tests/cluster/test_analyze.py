"""Analysis of several videos: in the driver, by one operator on Ray, and by two; the same rows and files from all of them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from abaw_ray.cluster.engine.run import Policy, Run
from abaw_ray.cluster.launch import analysis as launch
from abaw_ray.cluster.launch.config import AnalyzeConfig, VideosConfig
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.analysis import analyze
from abaw_ray.core.errors import StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.media.write import write_video
from abaw_ray.predict.analysis import read_analysis
from abaw_ray.predict.config import AnalysisConfig, OutputConfig, cache_config

pytestmark = pytest.mark.slow
COMPUTE = ComputeConfig(local_cpus=2, object_store_mb=80, decode=Resources(memory_gb=0.3), features=Resources(memory_gb=0.5))


@pytest.fixture(scope="module")
def session():
    with RaySession(COMPUTE, StorageConfig()) as session:
        yield session


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three generated videos in two folders, two of them with one name, a text that is called a video, and an image."""
    folder = tmp_path_factory.mktemp("videos")
    config = SyntheticConfig(train_subjects=6, val_subjects=3, test_subjects=1, video_duration_s=2.4, segment_duration_s=(0.4, 0.9))
    for script, name in zip(make_script(config), ("a/clip.mp4", "a/clip.mov", "b/clip.mp4"), strict=False):
        scene, path = Scene(config, script), folder / name
        path.parent.mkdir(exist_ok=True)
        samples, start = scene.audio()
        write_video(path, scene.frames(), scene.times, samples, audio_start=start, preset="veryfast")
    (folder / "b/text.mp4").write_text("no video")
    return folder


def run_of(session, model, videos, output, **changes):
    storage = cache_config(StorageConfig(uri=str(output)))
    config = AnalyzeConfig(
        model=str(model),
        storage=storage,
        compute=COMPUTE,
        policy=Policy(max_failures=1.0),
        data=VideosConfig(videos=(str(videos),)),
        outputs=OutputConfig(report=False),
    )
    return Run(replace(config, **changes), session)


def tables(output):
    return {path.relative_to(output).as_posix(): pd.read_csv(path) for path in sorted(Path(output).glob("*/*.csv"))}


@pytest.fixture(scope="module")
def in_driver(session, model, videos, tmp_path_factory):
    """The output folder of a run in the driver, without Ray."""
    output = tmp_path_factory.mktemp("driver")
    launch.run_analysis(run_of(session, model, videos, output, outputs=OutputConfig(report=True, format="csv,parquet")))
    return output


def test_files_mirror_the_folders_and_a_broken_video_loses_nothing(in_driver):
    files = {path.relative_to(in_driver).as_posix() for path in in_driver.rglob("*.*") if ".cache" not in path.parts}
    stems = {"a/clip.mp4", "a/clip.mov", "b/clip"}
    expected = {f"{stem}.{suffix}" for stem in stems for suffix in ("csv", "parquet", "html")}
    expected |= {"summary.csv", "episodes.csv", "failures.csv", "run.json", "index.html"}
    assert files == expected | {name for name in files if name.endswith(".proxy.mp4")}
    failures = pd.read_csv(in_driver / "failures.csv")
    assert failures["video"].tolist() == ["b/text.mp4"]
    assert "not a video" in failures["reason"].item()
    summary = pd.read_csv(in_driver / "summary.csv")
    assert set(summary["video"]) == {"a/clip.mp4", "a/clip.mov", "b/clip.mp4"}
    episodes = pd.read_csv(in_driver / "episodes.csv")
    assert (episodes["end"] - episodes["start"]).min() > 0.19
    assert len(episodes) == summary.filter(like="episodes_").sum().sum() > 0
    run = json.loads((in_driver / "run.json").read_text())
    assert run["model"]["notices"][0].startswith("This model was trained on generated faces")
    assert run["videos"] == 4
    assert "trained on generated faces" in (in_driver / "index.html").read_text()


def test_one_operator_on_ray_gives_the_same_tables(session, model, videos, in_driver, tmp_path, monkeypatch):
    monkeypatch.setattr(analyze, "_DRIVER_BYTES", -1)
    launch.run_analysis(run_of(session, model, videos, tmp_path))
    assert_equal(tables(tmp_path), tables(in_driver))


def test_two_operators_give_the_same_tables_and_leave_no_chips(session, model, videos, in_driver, tmp_path, monkeypatch):
    monkeypatch.setattr(analyze, "_DRIVER_BYTES", -1)
    monkeypatch.setattr(launch, "analyze_stage", lambda run: analyze.ANALYZE_ON_GPUS)
    launch.run_analysis(run_of(session, model, videos, tmp_path))
    assert_equal(tables(tmp_path), tables(in_driver))
    assert not list(tmp_path.rglob("chips/*"))


def test_chips_are_kept_on_request(session, model, videos, tmp_path):
    launch.run_analysis(run_of(session, model, videos / "b/clip.mp4", tmp_path, keep_chips=True))
    assert {path.name for path in tmp_path.rglob("chips/*/*")} >= {"faces.parquet", "found.json"}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, table in expected.items():
        pd.testing.assert_frame_equal(found[name], table, atol=1e-5)


def test_a_second_run_computes_nothing_and_another_format_is_made_from_the_cache(session, model, videos, in_driver, tmp_path, capsys, monkeypatch):
    output = shutil.copytree(in_driver, tmp_path / "out")
    (output / "b/clip.csv").unlink()
    monkeypatch.setattr(analyze.FusedWork, "__call__", lambda *_: pytest.fail("a video was analyzed again"))
    launch.run_analysis(run_of(session, model, videos, output))
    assert "already done" in capsys.readouterr().out
    assert_equal(tables(output), tables(in_driver))


def test_parts_of_a_video_have_results_of_their_own_and_files_of_one_name(session, model, videos, tmp_path, capsys, monkeypatch):
    parts = [AnalysisConfig(start=0.4, end=1.2), AnalysisConfig(start=1.0, end=2.0), AnalysisConfig(start=70.0)]

    def run(part):
        launch.run_analysis(run_of(session, model, videos / "b/clip.mp4", tmp_path, analysis=part, outputs=OutputConfig(format="csv,parquet")))
        table = pd.read_csv(tmp_path / "clip.csv")
        assert read_analysis(tmp_path / "clip.parquet").settings["start"] == part.start
        assert pd.read_csv(tmp_path / "summary.csv")["frames"].sum() == len(table)
        return table, re.sub('"level": "[^"]*"', "", (tmp_path / "clip.html").read_text())  # rounded in the stored analysis

    first, second, empty = (run(part) for part in parts)
    assert first[0]["time"].between(0.4, 1.2).all() and second[0]["time"].between(1.0, 2.0).all() and len(empty[0]) == 0
    assert "clip.mp4: no frame from 70 s on; the last frame of the video is at" in capsys.readouterr().out
    both = first[0].merge(second[0], on="frame", suffixes=("", "_2"))
    assert len(both) and (both["time"] == both["time_2"]).all()
    monkeypatch.setattr(analyze.FusedWork, "__call__", lambda *_: pytest.fail("a part was analyzed again"))
    for part, (table, page) in zip(parts, (first, second, empty), strict=True):
        again, page_again = run(part)
        pd.testing.assert_frame_equal(again, table)
        assert page_again == page
    assert capsys.readouterr().out.count("already done") == 3


def test_a_limit_counts_videos_and_all_broken_videos_are_an_error(session, model, videos, tmp_path):
    launch.run_analysis(run_of(session, model, videos, tmp_path / "one", limit=1))
    assert list(tables(tmp_path / "one")) == ["a/clip.csv"]
    with pytest.raises(StageError, match="1 of 1 items failed"):
        launch.run_analysis(run_of(session, model, videos / "b/text.mp4", tmp_path / "none"))
    assert len(pd.read_csv(tmp_path / "none/failures.csv")) == 1


def test_the_command_prints_where_the_results_are_and_imports_no_ray(model, videos, tmp_path):
    code = "import sys; from abaw_ray.cli.main import main\ntry: main()\nfinally: print('ray' in sys.modules)"
    args = ["analyze", str(videos / "b/clip.mp4"), "--model", str(model), "-o", str(tmp_path / "out"), "--people", "main", "--overlay"]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    for name in ("summary.csv", "episodes.csv", "index.html", "clip.csv"):
        assert f"{tmp_path}/out/{name}" in done.stdout
    assert (tmp_path / "out/clip.overlay.mp4").stat().st_size > 1000
