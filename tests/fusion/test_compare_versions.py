"""The comparison of two versions of the code of tools/data, on confusion matrices in the folders of a run."""

import json
import os
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.scoring.evaluation import Evaluation, evaluations_table
from tools.data.compare_versions import EVALUATIONS, main

TOTALS = np.random.default_rng(0).integers(20, 40, (6, 8))
RIGHT = np.einsum("ri,ij->rij", TOTALS, np.eye(8, dtype=int))
WRONG = np.einsum("ri,ij->rij", TOTALS, np.roll(np.eye(8, dtype=int), 1, axis=1))


def write_run(folder, counts, name="run-1", recordings="abcdef"):
    """A run whose evaluations all have these confusion matrices."""
    evaluations = {one: Evaluation(tuple(recordings), counts) for one in EVALUATIONS}
    for path, names in ((f"predictions/1/outputs/{name}", {"official", "visual", "speech"}), (f"fusion/1/outputs/{name}/cv", {"cv"})):
        (folder / path).mkdir(parents=True)
        pq.write_table(evaluations_table({one: evaluations[one] for one in names}), folder / path / "recordings.parquet")


def test_the_difference_is_the_mean_over_seeds_of_after_minus_before(tmp_path, capsys):
    for seed, after in ((0, RIGHT), (1, WRONG)):
        write_run(tmp_path / "before" / str(seed), WRONG)
        write_run(tmp_path / "after" / str(seed), after)
    main(tmp_path / "before", tmp_path / "after", seeds=(0, 1), out=tmp_path / "scores.json", commits=("a", "b"))
    figures = json.loads((tmp_path / "scores.json").read_text())
    assert figures["commits"] == ["a", "b"] and figures["seeds"] == [0, 1]
    assert [row["evaluation"] for row in figures["scores"]] == list(EVALUATIONS)
    for row in figures["scores"]:
        assert (row["before"], row["after"]) == ([0.0, 0.0], [1.0, 0.0])
        assert row["difference"] == pytest.approx(0.5) and row["interval"] == pytest.approx([0.5, 0.5])
    assert capsys.readouterr().out.count("+0.500") == 3 * len(EVALUATIONS), "difference and both ends"


def test_of_several_results_the_newest_counts(tmp_path):
    write_run(tmp_path / "before" / "0", RIGHT)
    write_run(tmp_path / "after" / "0", RIGHT, "run-2")
    write_run(tmp_path / "after" / "0", WRONG, "run-1")
    for path in (tmp_path / "after").rglob("run-2/**/recordings.parquet"):
        os.utime(path, (1, 1))
    main(tmp_path / "before", tmp_path / "after", seeds=(0,), out=tmp_path / "scores.json")
    assert [row["difference"] for row in json.loads((tmp_path / "scores.json").read_text())["scores"]] == [-1.0] * len(EVALUATIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: write_run(folder, RIGHT[:, ::-1]), "official validation: a recording has other annotations"),
        (lambda folder: write_run(folder, RIGHT, recordings="abcdeg"), "official validation: the versions have other recordings"),
        (lambda folder: folder.mkdir(), "predictions/*/outputs/*/recordings.parquet: no such file; run tools.data.compare_seeds"),
    ],
)
def test_versions_with_other_annotations_or_without_a_run_are_not_compared(tmp_path, change, message):
    write_run(tmp_path / "before" / "0", RIGHT)
    (tmp_path / "after").mkdir()
    change(tmp_path / "after" / "0")
    with pytest.raises(DataError, match=re.escape(message)):
        main(tmp_path / "before", tmp_path / "after", seeds=(0,))
