"""The comparison of two versions of the code of tools/data, on confusion matrices in the folders of a run."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.cluster.launch.run_records.record import RunFolder, RunRecord, list_runs
from abaw_ray.core.errors import DataError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.scoring.evaluation import Evaluation, evaluations_table
from tools.data.compare_versions import EVALUATIONS, main

TOTALS = np.random.default_rng(0).integers(20, 40, (6, 8))
RIGHT = np.einsum("ri,ij->rij", TOTALS, np.eye(8, dtype=int))
WRONG = np.einsum("ri,ij->rij", TOTALS, np.roll(np.eye(8, dtype=int), 1, axis=1))


def write_run(folder, counts, started="20261130-100000", recordings="abcdef", names=tuple(EVALUATIONS)):
    """A run that has come to its end, whose evaluations all have these confusion matrices."""
    evaluations = {name: Evaluation(tuple(recordings), counts) for name in names}
    paths = {"predictions": f"predictions/{started}/recordings.parquet", "fusion": f"fusion/{started}/cv/recordings.parquet"}
    storage = Storage(StorageConfig(uri=str(folder)))
    for stage, path in paths.items():
        of_stage = {name: one for name, one in evaluations.items() if name.startswith("cv") == (stage == "fusion")}
        storage.write_table(path, evaluations_table(of_stage))
    times = {"started": "2026-11-30T10:00:00Z", "finished": "2026-11-30T10:10:00Z"}
    record = RunRecord(id=started, command="", status="done", settings="", code="", git=f"git {started}", host="", recordings=paths, **times)
    RunFolder(storage, started).write(record)


def test_the_difference_is_the_mean_over_seeds_of_after_minus_before(tmp_path, capsys):
    for seed, after in ((0, RIGHT), (1, WRONG)):
        write_run(tmp_path / "before" / str(seed), WRONG)
        write_run(tmp_path / "after" / str(seed), after)
    main(tmp_path / "before", tmp_path / "after", seeds=(0, 1), out=tmp_path / "scores.json")
    figures = json.loads((tmp_path / "scores.json").read_text())
    assert figures["runs"] == {"before": ["git 20261130-100000"] * 2, "after": ["git 20261130-100000"] * 2} and figures["seeds"] == [0, 1]
    assert [row["evaluation"] for row in figures["scores"]] == list(EVALUATIONS)
    for row in figures["scores"]:
        assert (row["before"], row["after"]) == ([0.0, 0.0], [1.0, 0.0])
        assert row["difference"] == pytest.approx(0.5) and row["interval"] == pytest.approx([0.5, 0.5])
    assert capsys.readouterr().out.count("+0.500") == 3 * len(EVALUATIONS), "difference and both ends"


def test_of_several_runs_the_last_that_came_to_its_end_counts(tmp_path):
    write_run(tmp_path / "before" / "0", RIGHT)
    for started, counts in (("20261130-110000", RIGHT), ("20261130-120000", WRONG)):
        write_run(tmp_path / "after" / "0", counts, started)
    storage = Storage(StorageConfig(uri=str(tmp_path / "after" / "0")))
    RunFolder(storage, "x").write(replace(list_runs(storage)[-1], id="20261130-130000", status="failed", git="failed"))
    main(tmp_path / "before", tmp_path / "after", seeds=(0,), out=tmp_path / "scores.json")
    figures = json.loads((tmp_path / "scores.json").read_text())
    assert [row["difference"] for row in figures["scores"]] == [-1.0] * len(EVALUATIONS)
    assert figures["runs"]["after"] == ["git 20261130-120000"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: write_run(folder, RIGHT[:, ::-1]), "official validation: a recording has other annotations"),
        (lambda folder: write_run(folder, RIGHT, recordings="abcdeg"), "official validation: the versions have different recordings"),
        (lambda folder: write_run(folder, RIGHT, names=("official", "cv")), "run 20261130-100000 has no evaluation cv_in_sample"),
        (lambda folder: folder.mkdir(), "no run with confusion matrices by recording; run tools.data.compare_seeds"),
    ],
)
def test_versions_with_other_annotations_or_without_a_run_are_not_compared(tmp_path, change, message):
    write_run(tmp_path / "before" / "0", RIGHT)
    (tmp_path / "after").mkdir()
    change(tmp_path / "after" / "0")
    with pytest.raises(DataError, match=re.escape(message)):
        main(tmp_path / "before", tmp_path / "after", seeds=(0,))
