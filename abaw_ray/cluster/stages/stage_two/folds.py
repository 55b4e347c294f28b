"""Folds of Stage II: printed and stored with their class counts, and further assignments with which ``cv`` is scored again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.stages.stage_two.trials import Sweep
from abaw_ray.core.expressions import EXPRESSIONS, class_counts
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.folds import assign_folds, count_folds
from abaw_ray.fusion import search, selected
from abaw_ray.fusion.evaluation import protocols
from abaw_ray.fusion.evaluation.final_seeds import CrossValidationOfSeeds
from abaw_ray.fusion.frames import Frames

FOLDS_FILE = "folds.parquet"


def repeated_folds(sweep: Sweep, labels: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """``repeat-1``, ... -> further assignments of folds, with which ``cv`` is scored again."""
    config = sweep.config
    return {f"repeat-{number}": assign_folds(labels, folds=config.folds, seed=config.seed, repeat=number) for number in range(1, config.fold_repeats)}


def write_folds(storage: Storage, folder: str, labels: Mapping[str, np.ndarray], assignments: Mapping[str, Mapping[str, int]]) -> dict[str, list]:
    """Print the folds of the two protocols and write the table of all assignments; returns subjects, recordings and frames of each fold.

    The table has one row per assignment and subject, with the subject's fold and its labelled frames of each class.
    """
    rows, figures = [], {}
    for assignment, folds in assignments.items():
        counts = count_folds(labels, folds)
        figures[assignment] = [{**asdict(one), "frames": dict(zip(EXPRESSIONS, one.frames, strict=True))} for one in counts]
        for name, fold in folds.items():
            frames = class_counts(labels[name], len(EXPRESSIONS)).astype(int).tolist()
            rows.append({"assignment": assignment, "subject": name, "fold": fold, **dict(zip(EXPRESSIONS, frames, strict=True))})
        for one in counts if assignment in ("official", "cv") else ():
            rarest = int(np.argmin(one.frames))
            echo(
                f"  {assignment} fold {one.fold}: {one.subjects} subjects, {one.recordings} recordings, {sum(one.frames):,} labelled frames, "
                f"fewest of {EXPRESSIONS[rarest]} ({one.frames[rarest]:,})"
            )
    storage.write_table(f"{folder}/{FOLDS_FILE}", pa.Table.from_pylist(rows))
    return figures


def score_repeat(sweep: Sweep, frames: Frames, candidate: dict[str, Any], all_folds: dict[str, int]) -> dict[str, Any]:
    """Scores of ``cv`` with another assignment of folds: as ``final_cv``, but no model is kept."""
    config = search.candidate_config(sweep.config, candidate["changes"])
    folds = CrossValidationOfSeeds(lambda of_seed: protocols.cv_folds(frames, all_folds, of_seed), config, sweep.config.final_seeds)
    folds.train(sweep.config.fusion.epochs)
    return selected.score_figures(selected.select(folds, 0, sweep.config, default=sweep.default, threads=sweep.threads))
