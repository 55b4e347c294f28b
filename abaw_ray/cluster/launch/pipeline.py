"""The whole line: each stage, skipped where its result is there, then summary.json, report.html and the table on the terminal."""

import json
import time
from typing import Any

from rich.table import Table

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.config import PipelineConfig
from abaw_ray.cluster.launch.report import report_input
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.baselines import baselines
from abaw_ray.cluster.stages.encoder import prepare_encoder
from abaw_ray.cluster.stages.faces import prepare_faces
from abaw_ray.cluster.stages.features import extract_features
from abaw_ray.cluster.stages.fusion import sweep_fusion
from abaw_ray.cluster.stages.predictions import predict
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.core.progress import console, echo
from abaw_ray.core.storage.records import Record
from abaw_ray.report.page import write_report


def pipeline(run: Run, line: PipelineConfig) -> dict[str, Any]:
    """From what the user has to a report.

    Returns:
        The summary, as it stands in ``summary.json``.
    """
    started = time.monotonic()
    run.storage.check()
    annotated(run)  # what is wrong with them is said before hours of work
    records = {
        "faces": prepare_faces(run, line.faces),
        "encoder": prepare_encoder(run, line.encoder),
        "features": extract_features(run, line),
        "fusion": sweep_fusion(run, line),
    }
    floor = baselines(run, line)
    records["predictions"] = predict(run, line)
    summary = summarise(records, floor)
    run.storage.write_bytes("summary.json", json.dumps(summary, indent=1).encode())
    page = write_report(run.storage, report_input(run, line, records, summary))
    console.print(score_table(summary))
    echo(f"report:     {page}")
    echo(f"summary:    {run.storage.uri('summary.json')}")
    if summary["failures"]:
        echo(f"failures:   {len(summary['failures'])}; the report names them and says why")
    echo(f"submission: {summary['submission'] or 'no test release was given'}")
    echo(f"done in {time.monotonic() - started:.0f} s")
    return summary


def summarise(records: dict[str, Record], floor: dict[str, Any]) -> dict[str, Any]:
    """The scores of a run in one place."""
    scores, fusion = records["predictions"].figures, records["fusion"].figures
    cv = fusion["cv"]
    left_out = [{"item": name, "stage": "fusion", "reason": f"left out: {reason}", "last_frame": None} for name, reason in fusion["left_out"].items()]
    failures = [*(row for record in records.values() for row in record.failures), *left_out]
    stages = {name: _stage(record, sum(row["stage"] == name for row in failures)) for name, record in records.items()}
    stages["baselines"] = {"seconds": floor["seconds"], "rows": floor["rows"]}
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
        "baselines": {"pixels": floor["pixels"], "voice": floor["voice"]},
        "chance_macro_f1": scores["chance_macro_f1"],
        "stages": stages,
        "submission": submission and submission["path"],
        "submission_rows": submission and {name: submission[name] for name in ("rows", "filled", "filled_by", "shared")},
        "failures": failures,
    }


def _stage(record: Record, failed: int) -> dict[str, Any]:
    """What a stage took and gave; only some have items, the others are one run."""
    items = None if record.parts.keys() == {"run"} else len(record.parts)
    return {"seconds": record.seconds, "rows": record.figures["rows"], "items": items, "failed": failed}


def score_table(summary: dict[str, Any]) -> Table:
    """What a run ends with on the terminal."""
    table = Table(title="macro-F1", title_justify="left", show_edge=False)
    table.add_column("what")
    table.add_column("score", justify="right")
    table.add_column("says")
    official, cv = summary["official_val"], summary["cv"]
    per_class = ", ".join(f"{name} {score:.2f}" for name, score in zip(EXPRESSIONS, official["per_class"], strict=True))
    for name, score, says in (
        ("official validation", f"{official['macro_f1']:.3f}", per_class),
        ("  new recordings only", f"{official['macro_f1_unshared']:.3f}", "without frames whose recording is in Train_Set too"),
        ("five folds", f"{cv['macro_f1_mean']:.3f}", f"+- {cv['macro_f1_std']:.3f}: {', '.join(f'{fold:.3f}' for fold in cv['folds'])}"),
        ("face only", f"{summary['visual_only']['macro_f1']:.3f}", "a model of its own, official validation"),
        ("voice only", f"{summary['audio_only']['macro_f1']:.3f}", "a model of its own, official validation"),
        ("raw pixels", f"{summary['baselines']['pixels']:.3f}", "logistic regression"),
        ("pitch and energy", f"{summary['baselines']['voice']:.3f}", "logistic regression"),
        ("chance", f"{summary['chance_macro_f1']:.3f}", "guessing by class frequency"),
    ):
        table.add_row(name, score, says)
    return table
