import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow
CHECKED = """
from jaxtyping import TypeCheckError, install_import_hook
install_import_hook("abaw_ray.scoring", "beartype.beartype")
import numpy as np
from abaw_ray.scoring import baselines, calibration, decision, filling, metrics, selection, smoothing, submission

rng = np.random.default_rng(0)
videos = [
    selection.OutOfFold(name=str(k), fold=k % 2, logits=rng.normal(size=(90, 8)).astype(np.float32), time=np.arange(90) / 30,
                        scored=rng.random(90) < 0.8, labels=rng.integers(-1, 8, 90).astype(np.int8))
    for k in range(4)
]
bias = calibration.CalibrationConfig(method="bias")
choice = selection.choose_smoothing(videos, default=0, temperature=calibration.fit_temperature(videos[0].logits, videos[0].labels), calibration=bias)
metrics.bootstrap_interval(choice.confusions, seed=0)
labels = decision.choose_labels(choice.decision.probabilities(videos[0].logits, videos[0].time, videos[0].scored))
submission.submission_text([("0", 1)], {"0": labels}, default=filling.most_frequent(videos[0].labels))
baselines.logistic_macro_f1(videos[0].logits, videos[0].labels, videos[1].logits, videos[1].labels, seed=0)
baselines.chance_macro_f1(videos[0].labels, videos[1].labels, seed=0)
try:
    smoothing.moving_mean(videos[0].logits, videos[0].time[1:], videos[0].scored, window=1.0)
except TypeCheckError:
    print("checked")
"""


def test_the_shapes_in_the_signatures_are_those_that_flow():
    done = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("checked", 0), done.stderr[-2000:]
