"""The benchmark of smoothing: its subjects have the counts of the file, and its quick mode reports every figure."""

import json

import numpy as np
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.scoring.config import SmoothingConfig
from abaw_ray.scoring.smoothing import smooth
from tools.bench.smoothing import run, subjects


def write_counts(path, counts):
    path.write_text("video,annotation_rows,labelled_rows\n" + "".join(f"v{i},{frames},{labelled}\n" for i, (frames, labelled) in enumerate(counts)))
    return path


def test_subjects_have_the_counts_of_the_file(tmp_path):
    counts = [(300, 120), (90, 90), (61, 0)]
    drawn = subjects.draw_subjects(subjects.read_counts(write_counts(tmp_path / "counts.csv", counts)))
    assert [(len(one.time), int((one.labels >= 0).sum())) for one in drawn] == counts
    assert np.diff(drawn[0].time) == pytest.approx(np.full(299, 1 / 30), abs=2e-6)


def test_a_file_without_the_counts_is_a_data_error(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for name in ("other.csv", "gone.csv"):
        with pytest.raises(DataError, match="annotation_rows"):
            subjects.read_counts(tmp_path / name)
    assert run.main(tmp_path / "gone.csv") == DataError.exit_code


def test_the_reference_tap_by_tap_is_the_same_gaussian():
    scores, time = np.random.default_rng(0).random((200, 8)), np.round(np.arange(200) / 30, 6)
    found = subjects.gaussian_by_taps(scores, time, 1.01)
    np.testing.assert_allclose(found, smooth(scores, time, np.ones(200, bool), SmoothingConfig(kind="gaussian", window_s=1.01)), atol=1e-5)


def test_the_quick_mode_reports_every_figure(tmp_path):
    path = write_counts(tmp_path / "counts.csv", [(300 + 30 * i, 200) for i in range(12)])
    assert run.main(path, quick=True, json=tmp_path / "out.json") == 0
    body = json.loads((tmp_path / "out.json").read_text())
    assert all(body[key] is not None for key, *_ in run.FIGURES)
    assert body["different_labels"] == 0 and body["raw"]["grid"]["settings"] == 9
    assert (body["command"], body["labelled"]) == ("python -m tools.bench.smoothing --stats counts.csv --quick", 2000)
