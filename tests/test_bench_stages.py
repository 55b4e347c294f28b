"""The benchmark of the small stages measures every rate that plans use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

from tools.bench.stages.run import FIGURES

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_rate_is_measured(tmp_path):
    command = [sys.executable, "-m", "tools.bench.stages", "--frames", "2000", "--rounds", "1", "--json", str(tmp_path / "rates.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((tmp_path / "rates.json").read_text())
    keys = [key for key, *_ in FIGURES]
    assert len(keys) == 6 and all(key in done.stdout for key in keys)
    rates = {key: found[key] for key in keys if key != "annotated_image_us"}  # a difference, which two rounds of a loaded machine do not give
    assert all(rate > 0 for rate in rates.values()) and found["machine"]["cores"] >= 1


def test_plans_use_the_measured_rates():
    from abaw_ray.cluster.stages.workloads import scores

    found = json.loads((ROOT / "tools/benchmarks/stages-2026-11-29-epyc-2.json").read_text())
    used = (
        scores._SCANNED_US,
        scores._IMAGE_US,
        scores._BASELINE_FRAME_MS,
        scores._REGRESSION_ROW_MS,
        scores._MODEL_FRAME_US,
        scores._LABELS_FRAME_US,
    )
    assert used == pytest.approx([found[key] for key, *_ in FIGURES], rel=0.05)
