"""The tool that measures what of a GPU is used: it runs everywhere, small; how fast is for a GPU to say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


def test_its_parts_run_small_on_a_cpu_and_say_what_they_found(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tools.bench.gpu", "--tiny", "--json", str(out), "--only", "ceiling", "training", "features"]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    body = json.loads(out.read_text())
    assert (body["card"], body["ray_of_plain"]) == ("none", None)
    assert min(body[key] for key in ("tflops", "zero_of_plain", "read_of_zero", "checkpoint_s", "chips_of_forward", "voice_per_s")) > 0
    assert body["raw"]["training"]["images_in_step"] == 16 and "zero_of_plain" in done.stdout


def test_without_a_gpu_it_says_so_in_one_line():
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-m", "tools.bench.gpu"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr.count("error: this process sees no GPU")) == (2, 1)
