"""The whole pipeline: the list of its stages, and what follows the last one: ``summary.json``, ``report.html`` and the table of scores."""

import time
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage, stage_summary
from abaw_ray.cluster.launch.bundle import write_model
from abaw_ray.cluster.launch.report import report_input
from abaw_ray.cluster.launch.run_records.record import RunFolder
from abaw_ray.cluster.launch.score_tables import score_tables
from abaw_ray.cluster.stages.faces import PREPARE_FACES
from abaw_ray.cluster.stages.features import EXTRACT_FEATURES
from abaw_ray.cluster.stages.fold_features import EXTRACT_FOLD_FEATURES
from abaw_ray.cluster.stages.stage_one.annotated_images import PREPARE_ANNOTATED_IMAGES
from abaw_ray.cluster.stages.stage_one.encoder import TRAIN_ENCODER
from abaw_ray.cluster.stages.stage_one.fold_encoders import TRAIN_FOLD_ENCODERS
from abaw_ray.cluster.stages.stage_one.images import INGEST_IMAGES
from abaw_ray.cluster.stages.stage_two.baselines import BASELINE_VECTORS, SCORE_BASELINES
from abaw_ray.cluster.stages.stage_two.fusion import SWEEP_FUSION
from abaw_ray.cluster.stages.stage_two.predictions import PREDICT
from abaw_ray.core.progress import console, echo
from abaw_ray.core.stage_store.record import Record

STAGES: tuple[Stage, ...] = (
    PREPARE_FACES,
    INGEST_IMAGES,
    TRAIN_ENCODER,
    EXTRACT_FEATURES,
    PREPARE_ANNOTATED_IMAGES,
    TRAIN_FOLD_ENCODERS,
    EXTRACT_FOLD_FEATURES,
    SWEEP_FUSION,
    BASELINE_VECTORS,
    SCORE_BASELINES,
    PREDICT,
)
"""All stages, in the order in which they run; those of the encoders per fold only where there are some."""


def finish(run: Run[Any], records: dict[str, Record]) -> dict[str, Any]:
    """Write ``summary.json``, ``report.html`` and the model bundle, and print the scores."""
    from abaw_ray.report.page import write_report  # only here: with matplotlib

    started = time.monotonic()
    summary = run_summary(records)
    summary_file = RunFolder(run.storage, run.id).write_summary(summary)
    page = write_report(run.storage, report_input(run, records, summary))
    model = write_model(run, records, summary)
    for table in score_tables(summary):
        console.print(table)
    echo(f"report:     {page}")
    echo(f"summary:    {summary_file}")
    echo(f"model:      {model}")
    if summary["failures"]:
        echo(f"failures:   {len(summary['failures'])}; the report lists them with their reasons")
    echo(f"submission: {summary['submission'] or 'no test release was given'}")
    echo(f"report and model written in {time.monotonic() - started:.0f} s")
    return summary


def run_summary(records: dict[str, Record]) -> dict[str, Any]:
    """The content of ``summary.json``: scores, stages, submission and failures of a run."""
    scores, fusion, baselines = (records[name].figures for name in ("predictions", "fusion", "baselines"))
    cv = fusion["cv"]
    left_out = [{"item": name, "stage": "fusion", "reason": f"left out: {reason}", "last_frame": None} for name, reason in fusion["left_out"].items()]
    failures = [*(row for record in records.values() for row in record.failures), *left_out]
    submission = scores.get("submission")
    return {
        "official_val": {
            name: scores["official_val"][name]
            for name in ("macro_f1", "interval", "macro_f1_unshared", "interval_unshared", "per_class", "per_class_intervals", "confusion")
        },
        "cv": {
            "macro_f1_mean": cv["cross_fitted"]["mean"],
            "macro_f1_std": cv["cross_fitted"]["std"],
            "folds": cv["cross_fitted"]["folds"],
            "per_class": cv["cross_fitted"]["per_class"],
            "macro_f1_mean_in_sample": cv["in_sample"]["mean"],
            "macro_f1": cv["cross_fitted"]["pooled"],
            "interval": cv["cross_fitted"]["interval"],
            "macro_f1_in_sample": cv["in_sample"]["pooled"],
            "interval_in_sample": cv["in_sample"]["interval"],
            **_optimism(cv),
        }
        | _repeats(fusion),
        "visual_only": _score(scores["visual_only"]),
        "audio_only": _score(scores["speech_only"]),
        **{name: _score(scores[name]) for name in ("official_unsmoothed", "official_without_audio", "official_without_faces")},
        "differences": scores["differences"],
        "audio_gain": scores["audio_gain"],
        "searches": {mode: _search(row, scores["official_val" if mode == "fused" else f"{mode}_only"]) for mode, row in fusion["searches"].items()},
        "baselines": {name: _score(baselines[name]) for name in ("pixels", "pitch_energy")},
        "chance_macro_f1": scores["chance_macro_f1"],
        "stages": {name: stage_summary(record, failed=sum(row["stage"] == name for row in failures)) for name, record in records.items()},
        "submission": submission and submission["path"],
        "submission_rows": submission and {name: submission[name] for name in ("rows", "filled", "filled_by", "shared")},
        "failures": failures,
    }


def _score(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figures[name] for name in ("macro_f1", "interval")}


def _search(search: dict[str, Any], validation: dict[str, Any]) -> dict[str, Any]:
    """Pooled scores of a search on folds of Train_Set, their difference, and beside them the one score of Validation_Set."""
    return {
        "candidates": search["candidates"],
        "in_sample": search["in_sample"]["pooled"],
        "interval_in_sample": search["in_sample"]["interval"],
        "cross_fitted": search["cross_fitted"]["pooled"],
        "interval": search["cross_fitted"]["interval"],
        **_optimism(search),
        "validation": _score(validation),
    }


def _optimism(figures: dict[str, Any]) -> dict[str, Any]:
    return {"optimism": figures["optimism"]["macro_f1"], "interval_optimism": figures["optimism"]["interval"]}


def _repeats(fusion: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation of the score over the assignments of folds, the first one included, and the pooled score of each with its interval;
    nothing where there is one assignment.
    """
    if not fusion["repeats"]:
        return {}
    scores = [one["cross_fitted"] for one in (fusion["cv"], *fusion["repeats"])]
    means = [one["mean"] for one in scores]
    pooled = {"pooled": [one["pooled"] for one in scores], "intervals": [one["interval"] for one in scores]}
    return {"repeats": {"macro_f1": means, "mean": float(np.mean(means)), "std": float(np.std(means)), **pooled}}
