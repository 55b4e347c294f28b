"""Compares the scores of two versions of the code on the same synthetic data: paired differences over recordings, for each seed and on average.

python -m tools.data.compare_seeds --seeds 0 1 2                                       (in a checkout of each version)
python -m tools.data.compare_versions --before ../other/runs/demo-seeds --seeds 0 1 2
"""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from abaw_ray.cluster.launch.run_records.paired import run_evaluations
from abaw_ray.cluster.launch.run_records.record import list_runs
from abaw_ray.core.errors import DataError, MissingError
from abaw_ray.core.progress import console, echo
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1
from tools.bench.table import command_line, metadata, run_main

EVALUATIONS = {
    "official": "official validation",
    "cv": "five folds, cross-fitted",
    "cv_in_sample": "five folds, in-sample",
    "visual": "face only",
    "speech": "audio only",
}
"""Evaluations that are compared -> names in the table; all are pooled over the frames of their recordings."""


def main(before: Path, after: Path = Path("runs/demo-seeds"), seeds: tuple[int, ...] = (0, 1, 2), out: Path | None = None) -> None:
    """Print macro-F1 before and after by seed, and the mean difference with its 95 % interval over recordings.

    Args:
        before: Folder of the runs of the older version, as ``tools.data.compare_seeds`` writes it: one folder per seed, whose last run counts.
        after: The same of the newer version.
        seeds: Seeds that both have.
        out: JSON file of all figures, with the git revisions of the runs.

    Raises:
        DataError: a run has no confusion matrices by recording, or the versions have different recordings or annotations.
    """
    revisions, runs = zip(*(zip(*(read_run(folder / str(seed)) for seed in seeds), strict=True) for folder in (before, after)), strict=True)
    figures = compare(*(list(of_seeds) for of_seeds in runs))
    console.print(_table(figures))
    if out:
        command = command_line("tools.data.compare_versions", before=before, after=after, seeds=seeds)
        git = {"before": revisions[0], "after": revisions[1]}
        out.write_text(json.dumps(metadata("torch") | {"command": command, "seeds": seeds, "runs": git, "scores": figures}, indent=1) + "\n")
        echo(str(out))


def read_run(folder: Path) -> tuple[str, dict[str, Evaluation]]:
    """Git revision and evaluations, by name, of the last run below a root that came to its end.

    Raises:
        MissingError: there is none, or it has no confusion matrices by recording.
    """
    storage = Storage(StorageConfig(uri=str(folder)))
    runs = [run for run in list_runs(storage) if run.status == "done" and run.recordings]
    if not runs:
        raise MissingError(f"{folder}: no run with confusion matrices by recording; run tools.data.compare_seeds in that checkout first")
    found = run_evaluations(storage, runs[-1])
    if missing := EVALUATIONS.keys() - found.keys():
        raise MissingError(f"{folder}: run {runs[-1].id} has no evaluation {min(missing)}; run the whole pipeline with that version")
    return runs[-1].git, {name: found[name] for name in EVALUATIONS}


def compare(before: list[dict[str, Evaluation]], after: list[dict[str, Evaluation]]) -> list[dict[str, Any]]:
    """A row per evaluation: macro-F1 by seed of both versions, and the mean of after minus before with its 95 % interval over recordings.

    Raises:
        DataError: the versions have different recordings or annotations.
    """
    rows = []
    for name in EVALUATIONS:
        counts = {when: [one[name].counts for one in runs] for when, runs in (("before", before), ("after", after))}
        if any(one[name].recordings != other[name].recordings for one, other in zip(before, after, strict=True)):
            raise DataError(f"{EVALUATIONS[name]}: the versions have different recordings; compare runs on the same data")
        try:
            difference, *interval = paired_difference(counts["after"], counts["before"], seed=0)
        except ValueError as error:
            raise DataError(f"{EVALUATIONS[name]}: {error}") from None
        scores = {when: [float(macro_f1(matrices.sum(axis=0))) for matrices in of_seeds] for when, of_seeds in counts.items()}
        rows.append({"evaluation": name, **scores, "difference": difference, "interval": interval})
    return rows


def _table(figures: list[dict[str, Any]]) -> Table:
    table = Table("macro-F1, pooled", "before, by seed", "after, by seed", "mean difference", "95 % interval, paired")
    for row in figures:
        by_seed = [" ".join(f"{score:.3f}" for score in row[when]) for when in ("before", "after")]
        table.add_row(EVALUATIONS[row["evaluation"]], *by_seed, f"{row['difference']:+.3f}", "{:+.3f} to {:+.3f}".format(*row["interval"]))
    return table


if __name__ == "__main__":
    run_main(main)
