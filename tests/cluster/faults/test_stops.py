"""A job that is interrupted by SIGKILL, Ctrl-C and SIGTERM (as a cluster stops it): the same command continues it, with the undisturbed results."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from timeouts import TIMEOUT_S

from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.tree import write_synthetic
from abaw_ray.faces.crop import CropFaces

pytestmark = [pytest.mark.faults, pytest.mark.slow]
ROOT = Path(__file__).parents[3]
SMALL = SyntheticConfig(
    train_subjects=10,
    val_subjects=4,
    test_subjects=2,
    video_duration_s=4.0,
    segment_duration_s=(0.5, 1.2),
    affectnet_train_images=8,
    affectnet_val_images=8,
    rafdb_train_images=8,
    rafdb_test_images=8,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "data"
    write_synthetic(root, SMALL)
    return root / "affwild2"


def outputs_in(root: Path) -> list[Path]:
    return sorted(root.glob("faces/*/outputs/*.parquet"))


def wait_until(process: subprocess.Popen, log: Path, condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)


@pytest.fixture
def start(tree, tmp_path):
    """A function that runs the job once more; processes that still run at the end of the test are killed."""
    started = []

    def job(interrupt: signal.Signals | None = None) -> tuple[int, str]:
        """Run the job, and send it the signal once it has written another output; returns its exit code and what it printed."""
        command = [
            sys.executable,
            "jobs/prepare_faces.py",
            "smoke",
            "--data.no-use-synthetic",
            "--data.affwild2",
            str(tree),
            "--storage",
            str(tmp_path),
        ]
        log = tmp_path / f"{len(started)}.txt"
        with log.open("w") as out:
            process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        started.append(process)
        if interrupt is not None:
            wait_until(process, log, lambda: "to do" in log.read_text())
            wanted = len(outputs_in(tmp_path)) + 1
            wait_until(process, log, lambda: len(outputs_in(tmp_path)) >= wanted)
            process.send_signal(interrupt)
        return process.wait(timeout=TIMEOUT_S), log.read_text()

    yield job
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_a_job_that_is_killed_and_stopped_continues_without_losing_or_repeating_an_output(tree, start, tmp_path):
    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in outputs_in(tmp_path)}

    assert start(signal.SIGKILL)[0] == -signal.SIGKILL
    first = written()
    code, printed = start(signal.SIGINT)
    assert (code, printed.splitlines()[-1]) == (130, "stopped; finished items are kept, and the same command continues from there")
    assert "already done" in printed
    assert "Traceback" not in printed
    second = written()
    code, printed = start(signal.SIGTERM)  # how a submitted job is stopped
    assert (code, printed.splitlines()[-1][:7]) == (130, "stopped"), printed
    code, printed = start()
    assert (code, "Traceback" in printed) == (0, False), printed
    third = written()
    assert first.items() <= third.items() and second.items() <= third.items()
    assert len(first) < len(second) < len(third)

    storage, faces = Storage(StorageConfig(uri=str(tmp_path))), CropFaces(SMOKE.faces)
    videos = AffWild2(str(tree)).videos()
    assert len(third) == len(videos)
    tables = [storage.read_table(str(path.relative_to(tmp_path))) for path in outputs_in(tmp_path)]
    table_of = {table["video"][0].as_py(): table for table in tables}
    for video in videos[:6]:
        assert table_of[video["video"]].equals(pa.concat_tables(faces(video)).cast(table_of[video["video"]].schema)), video["video"]
