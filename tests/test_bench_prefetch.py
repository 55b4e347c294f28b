"""The benchmark of prefetching runs with few short videos."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def test_two_workers_are_measured_with_and_without_prefetching_and_all_copies_have_the_same_features():
    command = [sys.executable, "-m", "tools.bench.prefetch", "--videos", "3", "--seconds", "1", "--workers", "2", "--waits", "0.1", "--rounds", "1"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (done.stdout + done.stderr).splitlines()
    assert len([line for line in lines if ", 2 workers, reads 0.1 s later: " in line and "with prefetching" in line]) == 1
    assert len([line for line in lines if line.startswith("2 workers, 0.1 s: ") and "times as fast; rounds [" in line]) == 1
