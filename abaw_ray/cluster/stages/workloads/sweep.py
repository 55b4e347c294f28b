"""Annotations and settings of Stage II -> optimizer steps of the sweep."""

from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.workloads.videos import video_totals
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.fusion.config import SweepConfig
from abaw_ray.fusion.population.config import HalvingConfig

_SELECTION_US = 45.0
"""CPU microseconds per annotated frame to select epochs, smoothing and calibration of one candidate: 48.5 s on two threads, which are 1.47 times as
fast as one, for 1.56 million frames (tools/benchmarks/smoothing-2026-11-29-epyc-2.json)."""


def candidate_epochs(candidates: int, epochs: int, halving: HalvingConfig, *, never_stopped: int = 0) -> tuple[int, int]:
    """Epochs of all candidates of a population together, with successive halving, and how many candidates reach the last one.

    Args:
        candidates: Size of the population.
        epochs: Epochs of the candidates that are not stopped.
        halving: The rungs.
        never_stopped: How many candidates continue besides the best ones; that they are among the best is not expected.
    """
    alive, total = candidates, 0
    for epoch in range(1, epochs + 1):
        total += alive
        if halving.is_rung(epoch) and epoch < epochs and alive > halving.finalists:
            alive = min(alive, halving.continuing(alive) + never_stopped)
    return total, alive


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
    first = min(max(modes - finished_trials, 0), trials)  # those with the unchanged settings, which are never stopped
    populations = [candidate_epochs(sweep.candidates, fusion.epochs, sweep.halving, never_stopped=number) for number in (0, 1)]
    epochs, selections = (first * with_unchanged + (trials - first) * other for other, with_unchanged in zip(*populations, strict=True))
    trained = epochs * sweep.folds * steps(in_folds)
    annotated_rows = sum(len(rows) for name, rows in annotations.labels.items() if annotations.splits[name] == "train")
    return Workload(
        text=f"{trials:,} trials of {sweep.candidates} candidates, {sum(labelled.values()):,.0f} labelled frames",
        cpu_s=selections * annotated_rows * _SELECTION_US / 1e6,
        model_steps=trained + finals,
        population_steps=trials * fusion.epochs * steps(in_folds) + finals,
        parallel=min(max(trials, 1), sweep.ahead * modes),
        sources=("sweep: tools/benchmarks/fusion-2026-11-29-epyc-2.json, for the head frame; others, and GPUs, were not measured",),
    )
