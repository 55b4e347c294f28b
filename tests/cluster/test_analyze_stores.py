"""Analysis with videos, model and results in an object store."""

from dataclasses import replace

import pandas as pd
import pytest
from html_page import Page
from tiny_bundle import write_tiny_bundle

from abaw_ray.cluster.engine.run import Policy, Run
from abaw_ray.cluster.launch import analysis as launch
from abaw_ray.cluster.launch.config import AnalyzeConfig, VideosConfig
from abaw_ray.cluster.machines.compute import LAPTOP
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.analysis import analyze
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.folders import upload_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.scene.scene import Scene
from abaw_ray.data.synthetic.script import make_script
from abaw_ray.media.write import write_video
from abaw_ray.predict.config import OutputConfig, cache_config

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(object_store, tmp_path):
    """A bucket with two videos and a model."""
    object_store.create_bucket(Bucket="user")
    config = SyntheticConfig(train_subjects=6, val_subjects=3, test_subjects=1, video_duration_s=2.4, segment_duration_s=(0.4, 0.9))
    for name, script in zip(("a.mp4", "b/c.mp4"), make_script(config), strict=False):
        scene, path = Scene(config, script), tmp_path / "videos" / name
        samples, start = scene.audio()
        path.parent.mkdir(exist_ok=True, parents=True)
        write_video(path, scene.frames(), scene.times, samples, audio_start=start, preset="veryfast")
    write_tiny_bundle(tmp_path / "model", tmp_path)
    for name in ("videos", "model"):
        upload_folder(tmp_path / name, Storage(StorageConfig(uri="s3://user")), name)
    return Storage(StorageConfig(uri="s3://user/out"))


def analyze_bucket(monkeypatch, output, **changes):
    """Run both operators one after the other in this process."""
    chain = replace(analyze.ANALYZE_ON_GPUS, work=replace(analyze.ANALYZE_ON_GPUS.work, in_driver=lambda todo: True))
    monkeypatch.setattr(launch, "analyze_stage", lambda run: chain)
    config = AnalyzeConfig(
        model="s3://user/model",
        storage=cache_config(output.config),
        policy=Policy(max_failures=0.0),
        data=VideosConfig(videos=("s3://user/videos",)),
    )
    launch.run_analysis(Run(replace(config, **changes), RaySession(LAPTOP, output.config)))


def test_videos_model_and_results_are_in_an_object_store(bucket, monkeypatch, capsys):
    analyze_bucket(monkeypatch, bucket)
    files = bucket.files("", recursive=True)
    assert {"summary.csv", "failures.csv", "run.json", "index.html", "a.csv", "a.html", "a.proxy.mp4", "b/c.csv", "b/c.html"} <= files.keys()
    assert "b/c.html" in bucket.read_bytes("index.html").decode()
    text = bucket.read_bytes("b/c.html").decode()
    assert Page(text).values("href") == ["../index.html", "c.csv"]
    assert '"c.proxy.mp4"' in text and "s3://user/out" not in text
    with bucket.local_copy("b/c.csv") as path:
        assert len(pd.read_csv(path)) > 40
    assert not [name for name in files if "/chips/" in name and files[name]], "chips remain"
    monkeypatch.setattr(analyze.FindWork, "__call__", lambda *_: pytest.fail("a video was analyzed again"))
    bucket.delete("a.csv")
    analyze_bucket(monkeypatch, bucket)
    assert "already done" in capsys.readouterr().out and bucket.is_file("a.csv")
    analyze_bucket(monkeypatch, bucket, outputs=OutputConfig(format="parquet"))
    assert bucket.is_file("b/c.parquet")
