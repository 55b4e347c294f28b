"""A job that is ended in the middle: killed without a word, by Ctrl-C, and as a cluster stops it.

The same command goes on, and the result is the undisturbed one.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.affwild2 import AffWild2
from abaw_ray.data.synthetic.config import SyntheticConfig
from abaw_ray.data.synthetic.tree import write_synthetic
from abaw_ray.faces.crop import CropFaces

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
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
    root = tmp_path_factory.mktemp("drawn") / "data"
    write_synthetic(root, SMALL)
    return root / "affwild2"


def parts_in(root: Path) -> list[Path]:
    return sorted(root.glob("faces/*/outputs/*.parquet"))


def wait_until(process: subprocess.Popen, log: Path, there: Callable[[], bool]) -> None:
    while not there():
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)


@pytest.fixture
def start(tree, tmp_path):
    """Start the same job once more; whatever of it still runs at the end of the test is killed."""
    started = []

    def job(sent: signal.Signals | None = None) -> tuple[int, str]:
        """Run it, and send the signal as soon as it has added a part or two; exit code and what it printed."""
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
        if sent is not None:
            wait_until(process, log, lambda: "to do" in log.read_text())
            wanted = len(parts_in(tmp_path)) + 1
            wait_until(process, log, lambda: len(parts_in(tmp_path)) >= wanted)
            process.send_signal(sent)
        return process.wait(timeout=120), log.read_text()

    yield job
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_killed_and_stopped_and_started_again_nothing_is_lost_and_nothing_is_done_twice(tree, start, tmp_path):
    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in parts_in(tmp_path)}

    assert start(signal.SIGKILL)[0] == -signal.SIGKILL
    first = written()
    code, said = start(signal.SIGINT)
    assert (code, said.splitlines()[-1]) == (130, "stopped; finished items are kept, and the same command continues from there")
    assert "already done" in said
    assert "Traceback" not in said
    second = written()
    code, said = start(signal.SIGTERM)  # how a submitted job is stopped
    assert (code, said.splitlines()[-1][:7]) == (130, "stopped"), said
    code, said = start()
    assert (code, "Traceback" in said) == (0, False), said
    third = written()
    assert first.items() <= third.items() and second.items() <= third.items()
    assert len(first) < len(second) < len(third)

    storage, faces = Storage(StorageConfig(uri=str(tmp_path))), CropFaces(SMOKE.faces)
    videos = AffWild2(str(tree)).videos()
    assert len(third) == len(videos)
    tables = [storage.read_table(str(path.relative_to(tmp_path))) for path in parts_in(tmp_path)]
    found = {table["video"][0].as_py(): table for table in tables}
    for video in videos[:6]:
        assert found[video["video"]].equals(pa.concat_tables(faces(video)).cast(found[video["video"]].schema)), video["video"]
