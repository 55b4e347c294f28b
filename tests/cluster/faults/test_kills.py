"""Workers and jobs are killed while they decode a video: it is finished with the rows of an undisturbed run and is no failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.faces.config import DetectorConfig, FacesConfig, SegmentConfig
from abaw_ray.faces.crop import CropFaces
from abaw_ray.media.write import write_video

pytestmark = [pytest.mark.faults, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
CONFIG = FacesConfig(detector=DetectorConfig(kind="haar", width=320), segments=SegmentConfig(length_s=10.0, overlap_s=1.0))
FRAMES = 600


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A video that takes a worker some seconds: noise, in which Haar finds no face."""
    path, rng = tmp_path_factory.mktemp("videos") / "long.mp4", np.random.default_rng(0)
    images = (rng.integers(0, 255, (24, 32, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1) for _ in range(FRAMES))
    write_video(path, images, np.arange(FRAMES) / 25, None, preset="ultrafast")
    return path


@pytest.fixture
def start(video, tmp_path):
    """A function that starts the job; jobs that still run at the end of the test are killed."""
    started = []

    def job() -> subprocess.Popen:
        options = ["--detector", "haar", "--faces.detector.width", "320", "--faces.segments.length-s", "10", "--compute.local-cpus", "2"]
        command = [sys.executable, "jobs/prepare_faces.py", "paper", "--videos", str(video), "--storage", str(tmp_path / "runs"), *options]
        with (tmp_path / f"{len(started)}.txt").open("w") as log:
            started.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True))
        return started[-1]

    yield job
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def decoding(job: subprocess.Popen) -> psutil.Process:
    """Wait until a child process decodes; returns its worker."""
    while True:
        assert job.poll() is None, "the job ended before it could be killed"
        for process in psutil.Process(job.pid).children(recursive=True):
            try:
                if "abaw_ray.core.process" in " ".join(process.cmdline()) and process.cpu_times().user > 1.2:  # it has started and decodes
                    return process.parent()
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.05)


def rows(path: Path) -> pa.Table:
    return pq.read_table(next(path.glob("runs/faces/*/outputs/*.parquet")))


@pytest.fixture(scope="module")
def undisturbed(video) -> pa.Table:
    """The rows that no kill may change."""
    table = pa.concat_tables(CropFaces(CONFIG)({"video": "long.mp4", "uri": str(video), "subjects": []}))
    assert len(table) >= FRAMES
    return table


def test_a_video_whose_worker_is_killed_once_is_finished_and_is_no_failure(start, undisturbed, tmp_path):
    job = start()
    worker = decoding(job)
    children = worker.children()
    worker.kill()
    assert not psutil.wait_procs(children, timeout=10)[1], "a decoder outlived its worker"
    assert job.wait(timeout=TIMEOUT_S) == 0, (tmp_path / "0.txt").read_text()
    assert rows(tmp_path).equals(undisturbed) and not list(tmp_path.glob("runs/faces/*/failures/*"))


def test_a_job_that_is_killed_three_times_finishes_its_video_in_the_fourth_run(start, undisturbed, tmp_path):
    for _ in range(3):
        job = start()
        worker = decoding(job)
        job.kill()
        psutil.wait_procs([worker, *worker.children()], timeout=TIMEOUT_S)
    assert start().wait(timeout=TIMEOUT_S) == 0, (tmp_path / "3.txt").read_text()
    assert rows(tmp_path).equals(undisturbed) and not list(tmp_path.glob("runs/faces/*/failures/*"))
