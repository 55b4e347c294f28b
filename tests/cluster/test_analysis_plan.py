"""The plan of an analysis: time and size of the output, from headers or from a sample of them; only unfinished videos count."""

import os
import re
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.analysis import run_analysis
from abaw_ray.cluster.launch.config import AnalyzeConfig, VideosConfig
from abaw_ray.cluster.machines.capacity import Machine
from abaw_ray.cluster.machines.compute import ComputeConfig, compute_preset
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.analysis.analyze import ANALYZE, analyzed_videos
from abaw_ray.cluster.stages.workloads import videos as workload_videos
from abaw_ray.core.errors import StorageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.media.playback.header import VideoHeader
from abaw_ray.media.write import write_video
from abaw_ray.predict.config import OutputConfig, cache_config

HEADER = VideoHeader(duration_s=60, width=640, height=360, fps=30, has_audio=True, plays=True)


class NoRay(RaySession):
    """A session that does not start Ray."""

    def start(self, *_, **__):
        pass


@pytest.fixture
def plan(model, tmp_path, monkeypatch, capsys):
    """A function that plans the analysis of a folder on machines with two CPUs each; returns the printed text."""
    monkeypatch.setattr("abaw_ray.cluster.machines.capacity.machines", lambda: [Machine({"CPU": 16.0, "GPU": 2.0})])

    def show(folder, **changes):
        run_analysis(run_of(model, folder, tmp_path / "out", **changes))
        return capsys.readouterr().out

    return show


def run_of(model, folder, output, **changes):
    storage = cache_config(StorageConfig(uri=str(output), attempts=1))
    config = AnalyzeConfig(plan=True, model=str(model), storage=storage, data=VideosConfig(videos=(str(folder),)))
    config = replace(config, **changes)
    return Run(config, NoRay(config.compute))


def files(folder, count, size=1000):
    """Equal small files that are called videos."""
    folder.mkdir()
    (folder / "00000.mp4").write_bytes(bytes(size))
    for number in range(1, count):
        os.link(folder / "00000.mp4", folder / f"{number:05d}.mp4")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """Files whose headers were read; each is a video of one minute."""
    uris = []

    def read(names, limits):
        uris.extend(names)
        return [HEADER] * len(names)

    monkeypatch.setattr(workload_videos, "read_headers", read)
    return uris


def test_of_five_thousand_small_files_64_are_opened(plan, opened, tmp_path):
    printed = plan(files(tmp_path / "videos", 5000))
    assert len(opened) == len(set(opened)) == 64
    assert "5,000 of 5,000 videos, 5.0 MB in all" in printed
    assert "about 83.3 h of video, 9,000,000 frames, 5.0 MB; estimated from 64 of 5,000 videos" in printed
    assert "of one CPU core per second of video" in printed and "by python -m tools.bench.analyze" in printed
    assert "are free in" in printed and "no problems" in printed
    assert not (tmp_path / "out").exists()


def test_the_sample_is_the_same_in_every_plan(plan, opened, tmp_path):
    folder = files(tmp_path / "videos", 200)
    plan(folder)
    first = sorted(opened)
    opened.clear()
    plan(folder)
    assert sorted(opened) == first


def test_finished_videos_are_neither_opened_nor_counted(plan, model, opened, tmp_path):
    folder = files(tmp_path / "videos", 4)
    run = run_of(model, folder, tmp_path / "out")
    store, items = ANALYZE.store(run), list(analyzed_videos(run))
    for item in items[:3]:
        run.storage.write_bytes(store.output(item), b"")
    printed = plan(folder)
    assert [uri.rpartition("/")[2] for uri in opened] == [items[3].name]
    assert "1 of 4 videos, 3 already done" in printed and "about 1.0 min of video, 1,800 frames" in printed and "on 1 worker" in printed


def test_files_that_cannot_be_opened_are_counted(plan, tmp_path):
    folder = files(tmp_path / "videos", 2, size=3)
    frames = (np.full((64, 96, 3), shade, np.uint8) for shade in range(0, 200, 10))
    write_video(folder / "clip.mp4", frames, np.arange(20) / 10, None, preset="ultrafast")
    printed = plan(folder)
    assert "about 2 s of video, 20 frames" in printed and "2 of 3 cannot be opened" in printed


def test_files_without_a_duration_count_like_others_of_their_size(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(workload_videos, "read_headers", lambda names, limits: [HEADER, *[replace(HEADER, duration_s=0.0)] * (len(names) - 1)])
    printed = plan(files(tmp_path / "videos", 3))
    assert "about 3.0 min of video" in printed and "2 of 3 state no duration" in printed


def test_a_disk_that_is_too_small_is_a_problem(plan, opened, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(StorageError, match="and 1.0 kB are free; choose another folder with -o"):
        plan(files(tmp_path / "videos", 2))


def test_a_plan_for_gpus_says_that_a_small_model_is_not_measured_there(plan, opened, tmp_path):
    printed = plan(files(tmp_path / "videos", 3, size=20_000_000), compute=compute_preset("gpu-1x2"))
    assert "on GPUs, a model of this size is not measured" in printed and "faces about" in printed


def test_prices_add_the_cost_on_the_machines_of_the_cluster_file(plan, opened, tmp_path):
    printed = plan(files(tmp_path / "videos", 3), cluster_file=str(Path(__file__).parents[2] / "cluster.yaml"))
    assert printed.count("analysis: ") > 3 and re.search(r"analysis: .* on \d+ m7i.4xlarge, .* USD; 5,400 scored frames", printed)
    assert "in all: " in printed and len(opened) == 3, "the headers are read once"


def test_images_are_counted_without_being_opened(plan, opened, tmp_path):
    folder = files(tmp_path / "videos", 2)
    (folder / "still.png").write_bytes(b"1")
    printed = plan(folder, compute=ComputeConfig(local_cpus=2))
    assert len(opened) == 2 and "1 images, 3,601 frames" in printed


def test_kept_crops_count_as_output(plan, opened, tmp_path):
    printed = plan(files(tmp_path / "videos", 2), keep_chips=True, outputs=OutputConfig(report=False))
    assert re.search(r"cache [\d.]+ \w+, face crops [\d.]+ \w+$", printed, re.MULTILINE)
