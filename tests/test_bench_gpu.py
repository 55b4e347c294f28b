"""The GPU benchmark runs with tiny sizes on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def test_tiny_parts_run_on_a_cpu_and_report_figures(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tools.bench.gpu", "--tiny", "--json", str(out), "--only", "ceiling", "training", "features"]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "CXX": str(tmp_path / "no-compiler")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    body = json.loads(out.read_text())
    assert (body["gpu"], body["ray_of_plain"]) == ("none", None)
    assert min(body[key] for key in ("tflops", "zero_of_plain", "read_of_zero", "checkpoint_s", "chips_of_forward", "speech_per_s")) > 0
    assert min(body[key] for key in ("bare_of_ceiling", "zero_compiled_of_ceiling", "zero_compiled_of_bare", "forward_of_unprepared")) > 0
    assert 0 < body["data_wait_share"] < 1 and body["peak_gb"] is None  # the latter is of a GPU
    assert not body["raw"]["training"]["bare_compiled"] and done.stdout.count("not compiled: no C++ compiler was found") == 2
    counts = body["raw"]["training"]["operators_per_step"]
    assert set(counts) == {"plain", "ddp", "zero"} and all(0 < step["copies"] < step["operators"] for step in counts.values())
    assert body["raw"]["training"]["images_in_step"] == 16 and "zero_of_plain" in done.stdout


def test_a_missing_gpu_is_a_one_line_error_with_an_exit_code():
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "tools.bench.gpu"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stderr.count("error: no GPU is visible")) == (2, 1)
