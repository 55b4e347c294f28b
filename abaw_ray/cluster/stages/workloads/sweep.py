"""Annotations and settings of Stage II -> optimizer steps of the sweep."""

from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.workloads.videos import video_totals
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.fusion.config import HalvingConfig, SweepConfig

_SELECTION_US = 45.0
"""CPU microseconds per annotated frame to select epochs, smoothing and calibration of one candidate: 48.5 s on two threads, which are 1.47 times as
fast as one, for 1.56 million frames (tools/benchmarks/smoothing-2026-11-29-epyc-2.json)."""


def candidate_epochs(candidates: int, epochs: int, halving: HalvingConfig) -> int:
    """Epochs of all candidates of a population together, with successive halving."""
    alive, total = candidates, 0
    for epoch in range(1, epochs + 1):
        total += alive
        if halving.is_rung(epoch) and alive > halving.finalists:
            alive = max(halving.finalists, -(-alive // halving.reduction))
    return total


def sweep_workload(run: Run[Any], finished_trials: int) -> Workload:
    """Trials that are not finished, and the final models.

    Args:
        run: Settings and annotations.
        finished_trials: Trials of an earlier run whose results are stored.
    """
    sweep: SweepConfig = run.config.sweep
    annotations, fusion = annotated(run), sweep.fusion
    labelled = {name: float((rows != UNLABELLED).sum()) for name, rows in annotations.labels.items()}
    train = sum(count for name, count in labelled.items() if annotations.splits[name] == "train")
    totals = video_totals(run)
    rate = totals.frames / totals.seconds if totals.seconds else 0.0
    kept = min(fusion.rows_per_second / rate, 1.0) if fusion.rows_per_second and rate else 1.0
    modes = 3 if sweep.unimodal else 1
    trials = max(sweep.trials * modes - finished_trials, 0)

    def steps(rows: float) -> float:  # of one model and epoch
        return rows * kept / fusion.batch_size

    in_folds, every = train * (sweep.folds - 1) / sweep.folds, sum(labelled.values()) * (sweep.folds - 1) / sweep.folds
    finals = fusion.epochs * sweep.final_seeds * (3 * steps(train) + sweep.folds * sweep.fold_repeats * steps(every))
    baselines = max(modes - finished_trials, 0)  # reach the last epoch besides the finalists
    epochs = trials * candidate_epochs(sweep.candidates, fusion.epochs, sweep.halving) + baselines * (fusion.epochs - sweep.halving.grace_epochs)
    trained = epochs * sweep.folds * steps(in_folds)
    annotated_rows = sum(len(rows) for name, rows in annotations.labels.items() if annotations.splits[name] == "train")
    selections = trials * min(sweep.halving.finalists, sweep.candidates) + baselines
    return Workload(
        text=f"{trials:,} trials of {sweep.candidates} candidates, {sum(labelled.values()):,.0f} labelled frames",
        cpu_s=selections * annotated_rows * _SELECTION_US / 1e6,
        model_steps=trained + finals,
        population_steps=trials * fusion.epochs * steps(in_folds) + finals,
        parallel=min(max(trials, 1), sweep.ahead * modes),
        sources=("sweep: tools/benchmarks/fusion-2026-11-29-epyc-2.json, for the head frame; others, and GPUs, were not measured",),
    )
