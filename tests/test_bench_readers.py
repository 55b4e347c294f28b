"""The benchmark of the training readers runs with few views."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def test_quick_figures_are_complete_and_time_outside_opencv_is_a_part_of_a_view(tmp_path):
    out = tmp_path / "readers.json"
    command = [sys.executable, "-m", "tools.bench.readers", "--quick", "--json", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    body = json.loads(out.read_text())
    assert body["quick"] and 0 < body["outside_opencv"] < 1 and body["view_ms"] > 0
    assert min(body[key] for key in ("threads_2_over_1", "processes_2_over_1", "processes_over_threads_2", "processes_bound_over_threads_2")) > 0
    (rates,) = body["raw"]["readers"]["views_per_second_by_round"]
    assert set(rates) == {"threads_1", "threads_2", "processes_1", "processes_2", "processes_2_bound"}
    assert "outside_opencv" in done.stdout
