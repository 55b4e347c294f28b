"""Scores of two runs, paired by recording: whether a difference is more than the choice of the recordings explains."""

from collections.abc import Mapping
from dataclasses import dataclass

from abaw_ray.cluster.launch.run_records.record import RunRecord
from abaw_ray.core.storage.storage import Storage
from abaw_ray.scoring.evaluation import Evaluation, read_evaluations

PAIRED = {"official": "official_val", "visual": "face only", "speech": "audio only", "cv": "cv, pooled"}
"""Evaluations that are compared -> names of their scores. That of the five folds is of their frames together, not the mean over the folds."""


@dataclass(frozen=True)
class PairedScore:
    """Macro-F1 of the same evaluation in two runs."""

    first: float
    second: float
    interval: tuple[float, float] | None
    """95 % interval of second minus first over recordings; None where the runs scored different frames, or only one recording."""


def paired_scores(storage: Storage, first: RunRecord, second: RunRecord) -> Mapping[str, PairedScore]:
    """Name -> macro-F1 of what both runs have scored, as far as their results still exist."""
    evaluations, others = (run_evaluations(storage, run) for run in (first, second))
    return {PAIRED[name]: _paired(evaluations[name], others[name]) for name in PAIRED if name in evaluations and name in others}


def run_evaluations(storage: Storage, run: RunRecord) -> dict[str, Evaluation]:
    """All evaluations of a run by name, from those of its tables that still exist."""
    found: dict[str, Evaluation] = {}
    for path in run.recordings.values():
        if storage.exists(path):
            found |= read_evaluations(storage.read_table(path))
    return found


def _paired(first: Evaluation, second: Evaluation) -> PairedScore:
    try:
        interval = second.minus(first)["interval"]
    except ValueError:  # different recordings or annotations
        interval = None
    return PairedScore(first.macro_f1, second.macro_f1, interval=interval and tuple(interval))
