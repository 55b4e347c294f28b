"""The benchmark of populations: its frames have the counts of the file, and its quick mode reports every figure that the machine can give."""

import json

import numpy as np
import pytest
import torch

from abaw_ray.core.errors import ConfigError, DataError
from tools.bench.fusion import data, run, savings, training

COUNTS = [("train", f"{100 + index}", 40 * index + 300, 30 * index + 200) for index in range(8)] + [("val", "200", 100, 90)]


@pytest.fixture(scope="module")
def stats(tmp_path_factory):
    path = tmp_path_factory.mktemp("stats") / "counts.csv"
    path.write_text("split,video,annotation_rows,labelled_rows\n" + "".join(",".join(map(str, row)) + "\n" for row in COUNTS))
    return path


def test_frames_have_the_counts_of_train_set_in_the_file(stats, tmp_path):
    counts = data.read_counts(stats)
    frames = data.draw_frames(counts, widths=(6, 4))
    for index, (_, name, annotated, labelled) in enumerate(COUNTS[:-1]):
        rows = frames.subject_index == index
        assert (frames.subjects[index].name, rows.sum(), (frames.labels[rows] >= 0).sum()) == (name, annotated, labelled)
    assert data.labelled_bytes(frames) == sum(row[3] for row in COUNTS[:-1]) * 20
    table = [dict(zip(("split", "video", "annotation_rows", "labelled_rows"), row, strict=True)) for row in COUNTS]
    (tmp_path / "counts.json").write_text(json.dumps(table))
    assert data.read_counts(tmp_path / "counts.json") == counts


def test_a_scaled_subject_keeps_the_share_of_its_labels():
    assert data.SubjectCount("a", 4000, 1000).scaled(0.1) == data.SubjectCount("a", 400, 100)
    assert data.SubjectCount("a", 40, 10).scaled(0.1) == data.SubjectCount("a", 8, 8)


def test_a_file_without_the_counts_and_a_scale_out_of_range_are_errors(tmp_path, stats):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "val.csv").write_text("split,video,annotation_rows,labelled_rows\nval,1,2,2\n")
    for name, message in (("other.csv", "annotation_rows"), ("gone.csv", "annotation_rows"), ("val.csv", "split=train")):
        with pytest.raises(DataError, match=message):
            data.read_counts(tmp_path / name)
    assert run.main(tmp_path / "gone.csv") == DataError.exit_code
    assert run.main(stats, scale=0.0) == ConfigError.exit_code


def test_thinning_is_counted_at_full_size(stats):
    found = savings.count_thinning([one.scaled(20) for one in data.read_counts(stats)])
    assert found["ratio"] == found["steps"] / found["steps_thinned"] == pytest.approx(data.FPS / 5, rel=0.03)


def test_each_way_trains_the_same_models(stats):
    frames = data.draw_frames(data.read_counts(stats), widths=(6, 4))
    folds = training.training_folds(frames, data.draw_folds(frames, 2))
    candidates = training.candidates_of(2)
    ways = training.population_ways(frames, candidates, folds, "cpu")
    together = ways["population"]()
    np.testing.assert_array_equal(np.concatenate(ways["candidate"]()), together)
    np.testing.assert_array_equal(np.concatenate(ways["alone"]()).ravel(), together.ravel())
    plain = training.PlainTraining(frames, candidates[0], folds, 0).train_epoch()
    assert plain == pytest.approx(float(together[0, 0]), rel=0.1)


@pytest.mark.slow
def test_the_quick_mode_reports_every_figure_and_no_gpu_where_there_is_none(stats, tmp_path, capsys):
    assert run.main(stats, scale=0.5, rounds=1, quick=True, json=tmp_path / "out.json") == 0
    body = json.loads((tmp_path / "out.json").read_text())
    measured = {key for key, *_ in run.FIGURES if body[key] is not None}
    missing = set() if torch.cuda.is_available() else {"gpu"}
    missing |= set() if training.has_bf16() else {key for key, *_ in run.FIGURES if key.endswith("bf16")}
    assert measured == {key for key, *_ in run.FIGURES} - missing
    assert body["scale"] == 0.5 and body["command"].endswith("--quick") and body["raw"]["training"]["models"] == 10
    assert torch.cuda.is_available() or "gpu: not measured" in capsys.readouterr().out
