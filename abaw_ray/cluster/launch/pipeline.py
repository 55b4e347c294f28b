"""The whole pipeline: the list of its stages, and what follows the last one: ``summary.json``, ``report.html`` and the table of scores."""

import json
import time
from typing import Any

from rich.table import Table

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import Stage, stage_summary
from abaw_ray.cluster.launch.bundle import write_model
from abaw_ray.cluster.launch.report import report_input
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
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.progress import console, echo
from abaw_ray.core.storage.records import Record
from abaw_ray.report.page import write_report

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
    started = time.monotonic()
    summary = run_summary(records)
    run.storage.write_bytes("summary.json", json.dumps(summary, indent=1).encode())
    page = write_report(run.storage, report_input(run, records, summary))
    model = write_model(run, records, summary)
    console.print(score_table(summary))
    echo(f"report:     {page}")
    echo(f"summary:    {run.storage.uri('summary.json')}")
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
        "official_val": {name: scores["official_val"][name] for name in ("macro_f1", "macro_f1_unshared", "interval", "per_class", "confusion")},
        "cv": {
            "macro_f1_mean": cv["cross_fitted"]["mean"],
            "macro_f1_std": cv["cross_fitted"]["std"],
            "folds": cv["cross_fitted"]["folds"],
            "per_class": cv["cross_fitted"]["per_class"],
            "macro_f1_mean_in_sample": cv["in_sample"]["mean"],
        },
        "visual_only": {"macro_f1": scores["visual_only"]["macro_f1"]},
        "audio_only": {"macro_f1": scores["speech_only"]["macro_f1"]},
        "baselines": {"pixels": baselines["pixels"], "pitch_energy": baselines["pitch_energy"]},
        "chance_macro_f1": scores["chance_macro_f1"],
        "stages": {name: stage_summary(record, failed=sum(row["stage"] == name for row in failures)) for name, record in records.items()},
        "submission": submission and submission["path"],
        "submission_rows": submission and {name: submission[name] for name in ("rows", "filled", "filled_by", "shared")},
        "failures": failures,
    }


def score_table(summary: dict[str, Any]) -> Table:
    """The scores, as a table for the terminal."""
    table = Table(title="macro-F1", title_justify="left", show_edge=False)
    table.add_column("model")
    table.add_column("score", justify="right")
    table.add_column("details")
    official, cv = summary["official_val"], summary["cv"]
    per_class = ", ".join(f"{name} {score:.2f}" for name, score in zip(EXPRESSIONS, official["per_class"], strict=True))
    for name, score, details in (
        ("official validation", f"{official['macro_f1']:.3f}", per_class),
        ("  new recordings only", f"{official['macro_f1_unshared']:.3f}", "without frames whose recording is in Train_Set too"),
        ("five folds", f"{cv['macro_f1_mean']:.3f}", f"+- {cv['macro_f1_std']:.3f}: {', '.join(f'{fold:.3f}' for fold in cv['folds'])}"),
        ("face only", f"{summary['visual_only']['macro_f1']:.3f}", "a separate model, official validation"),
        ("audio only", f"{summary['audio_only']['macro_f1']:.3f}", "a separate model, official validation"),
        ("raw pixels", f"{summary['baselines']['pixels']:.3f}", "logistic regression"),
        ("pitch and energy", f"{summary['baselines']['pitch_energy']:.3f}", "logistic regression"),
        ("chance", f"{summary['chance_macro_f1']:.3f}", "random labels at the class frequencies"),
    ):
        table.add_row(name, score, details)
    return table
