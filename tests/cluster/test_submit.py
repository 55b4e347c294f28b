"""A job through ``ray job submit`` on a head with token authentication, as on a real cluster."""

import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from timeouts import TIMEOUT_S
from tiny_bundle import write_tiny_bundle

from abaw_ray.media.write import write_video

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def starting_head(folder: Path, env: dict) -> Iterator[dict | None]:
    """Environment of a client of a head node, which is stopped afterwards; None if one of its processes ended before it took a job.

    On a busy machine, the raylet ends where its agent needs more than 15 s to start, which cannot be set.
    """
    dashboard, env = free_port(), {**env, "HOME": str(folder)}
    command = [
        *RAY, "start", "--head", "--block", "--num-cpus=2", "--object-store-memory=100000000", "--include-dashboard=true",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--port={free_port()}", f"--ray-client-server-port={free_port()}",
        f"--dashboard-agent-listen-port={free_port()}", f"--temp-dir=/tmp/abaw-{os.getpid()}",
    ]  # fmt: skip
    env["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{dashboard}"
    with (folder / "head.log").open("w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        taken, deadline = False, time.monotonic() + TIMEOUT_S
        while not taken and process.poll() is None and time.monotonic() < deadline:  # first there is no dashboard, then no agent that starts jobs
            taken = submit(env, "true").returncode == 0
        yield env if taken else None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=TIMEOUT_S)
        shutil.rmtree(f"/tmp/abaw-{os.getpid()}", ignore_errors=True)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """Environment of a client of a head node with token authentication."""
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env.pop("RAY_ADDRESS", None)
    for _ in range(5):
        folder = tmp_path_factory.mktemp("head")
        with starting_head(folder, env) as started:
            if started:
                yield started
                return
    raise AssertionError(f"the head did not start: {(folder / 'head.log').read_text()[-3000:]}")


def submit(env: dict, *args: str) -> subprocess.CompletedProcess:
    """Submit a job and wait for its end."""
    command = [*RAY, "job", "submit", "--address", env["RAY_API_SERVER_ADDRESS"], "--working-dir", str(ROOT), "--", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_a_submitted_job_does_its_work_and_reports_its_exit_status(head, tmp_path):
    job = [sys.executable, "jobs/prepare_faces.py", "smoke", "--data.synthetic-dir", str(tmp_path / "data"), "--storage", str(tmp_path / "runs")]
    small = [
        "--data.synthetic.train-subjects",
        "6",
        "--data.synthetic.val-subjects",
        "3",
        "--data.synthetic.test-subjects",
        "1",
        "--data.synthetic.video-duration-s",
        "2.4",
    ]
    stills = [
        "--data.synthetic.affectnet-train-images",
        "8",
        "--data.synthetic.affectnet-val-images",
        "8",
        "--data.synthetic.rafdb-train-images",
        "7",
    ]
    done = submit(head, *job, *small, "--data.synthetic.segment-duration-s", "0.4", "0.9", *stills, "--data.synthetic.rafdb-test-images", "7")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
    assert "exit=0" in done.stdout
    assert list((tmp_path / "runs" / "faces").glob("*/records/*.json"))


def test_a_submitted_analysis_uses_the_workers_of_the_cluster_and_a_second_one_finds_it_done(head, tmp_path):
    write_tiny_bundle(tmp_path / "model", tmp_path)
    (tmp_path / "videos").mkdir()
    images = (np.full((120, 160, 3), number, np.uint8) for number in range(30))
    write_video(tmp_path / "a.mp4", images, np.arange(30) / 10, None)
    free = struct.pack(">I4s", 11_000_000, b"free").ljust(11_000_000, b"\0")  # large enough that they are not analyzed in the driver
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "videos" / name).write_bytes((tmp_path / "a.mp4").read_bytes() + free)
    job = [sys.executable, "jobs/analyze.py", str(tmp_path / "videos"), "--model", str(tmp_path / "model"), "-o", str(tmp_path / "out")]
    done = submit(head, *job, "--compute.features.memory-gb", "0.5")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]
    assert "2 of 2 videos" in done.stdout and len((tmp_path / "out/b.csv").read_text().splitlines()) == 31
    assert "already done (2 videos)" in submit(head, *job).stdout


def test_the_last_line_of_a_job_that_cannot_run_has_the_reason(head):
    done = submit(head, sys.executable, "jobs/train_encoder.py", "demo", "--encoder.epochs", "0")
    assert done.returncode == 1
    assert "exit=2 error: --encoder.epochs 0: epochs=0 must be at least 1" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_client_without_the_token_is_refused(head):
    environment = {**head, "RAY_AUTH_TOKEN": "wrong" * 8}
    done = subprocess.run(
        [*RAY, "job", "list", "--address", head["RAY_API_SERVER_ADDRESS"]],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode != 0
    assert "uthentication" in done.stdout + done.stderr
