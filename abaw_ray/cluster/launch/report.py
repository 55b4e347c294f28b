"""Results in storage -> the input of the report. All scores were computed before."""

import json
from typing import Any

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.stage_two.tables import CANDIDATES_FILE, EPOCHS_FILE
from abaw_ray.core.settings import flatten
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.tables import rows_of_track
from abaw_ray.data.annotations import align_labels
from abaw_ray.report.ablation.rows import ABLATION_FILE, AblationRow
from abaw_ray.report.inputs import (
    ConfusionMatrix,
    DataSetScore,
    EncoderTraining,
    Epoch,
    ExpertUse,
    FoldEncoderScore,
    ReportInput,
    SmoothingCurve,
    SubmissionInfo,
    Timeline,
)
from abaw_ray.report.stage_two.inputs import Candidate, Search
from abaw_ray.report.timelines import timeline_of

_MODES = {"fused": "fused", "visual": "face only", "speech": "audio only"}
"""Names of the searches on the page."""
_SYNTHETIC = "The videos and images of this run are synthetic: the scores show that the pipeline works, not how accurate it is on real people."


def report_input(run: Run[Any], records: dict[str, Record], summary: dict[str, Any]) -> ReportInput:
    """The content of the page, from the records and the outputs of the predictions."""
    scores, fusion = records["predictions"].figures, records["fusion"].figures
    submission = scores.get("submission")
    return ReportInput(
        summary=summary,
        run=f"results in {run.storage.uri()}",
        finished=records["predictions"].finished,
        notes=[
            *([_SYNTHETIC] if run.config.data.use_synthetic else []),
            *_encoder_notes(records["encoder"]),
            *_sweep_notes(run, records["fusion"]),
        ],
        confusion_matrices=[
            ConfusionMatrix(
                name="Official validation",
                counts=np.array(scores["official_val"]["confusion"]),
                note="The fusion model trained on Train_Set alone, smoothed; frames of Validation_Set.",
                f1_intervals=_f1_intervals(scores["official_val"]),
            ),
            ConfusionMatrix(
                name="Five folds",
                counts=np.array(fusion["cv"]["cross_fitted"]["confusion"]),
                note="Out-of-fold scores over train and validation; epochs, temperature, smoothing and bias chosen on the other folds.",
                f1_intervals=_f1_intervals(fusion["cv"]["cross_fitted"]),
            ),
        ],
        smoothing=_smoothing(fusion["official"]),
        searches=_searches(run, records["fusion"]),
        ablation=_ablation(run),
        encoder=_encoder(records["encoder"].figures, records.get("fold_encoders")),
        timelines=_timelines(run, records["predictions"]),
        submission=submission and SubmissionInfo(path=submission["path"], rows=submission["rows"], filled=submission["filled"]),
        failures=summary["failures"],
        settings={name: record.settings for name, record in records.items()},
        versions=records["predictions"].versions,
    )


def _f1_intervals(score: dict[str, Any]) -> np.ndarray | None:
    intervals = score["per_class_intervals"]
    return intervals and np.array(intervals)


def _with_interval(difference: dict[str, Any]) -> tuple[float, float, float] | None:
    """The difference and the ends of its interval; None where it has none."""
    return (difference["macro_f1"], *difference["interval"]) if difference["interval"] else None


def _encoder_notes(encoder: Record) -> list[str]:
    source = encoder.figures.get("copied_from")
    return [f"The encoder was not trained in this run; it is a copy of {source} (SHA-256 {encoder.figures['source_sha256']})."] if source else []


def _sweep_notes(run: Run[Any], fusion: Record) -> list[str]:
    missing = _missing_tables(run, fusion)
    if not missing:
        return []
    return [f"The candidates of the sweep are not listed: {', '.join(missing)} not found; restore the files and run abaw-ray report again."]


def _missing_tables(run: Run[Any], fusion: Record) -> list[str]:
    """Paths of the sweep's tables that are gone; the stage writes both, and none of its scores depends on them."""
    paths = (f"{fusion.run_output}/{name}" for name in (CANDIDATES_FILE, EPOCHS_FILE))
    return [path for path in paths if not run.storage.exists(path)]


def _encoder(figures: dict[str, Any], folds: Record | None) -> EncoderTraining:
    """Epochs of Stage I, the scores of the selected one and of the encoders per fold; nothing of an encoder that was copied."""
    if "copied_from" in figures:
        return EncoderTraining(epochs=())
    probe = (figures["probe"] or {"data_sets": {}})["data_sets"]
    per_class = figures["router_use_per_class"]
    return EncoderTraining(
        epochs=[
            Epoch(
                epoch=row["epoch"],
                loss=row["loss"],
                macro_f1={name: scores["macro_f1"] for name, scores in row["data_sets"].items()},
            )
            for row in figures["curve"]
        ],
        selected_epoch=figures["selection"]["epoch"],
        select=figures["selection"]["select"],
        data_sets=[
            DataSetScore(name=name, probe_macro_f1=probe.get(name, {}).get("macro_f1"), **scores) for name, scores in figures["data_sets"].items()
        ],
        experts=ExpertUse(classes=list(per_class), per_class=np.array(list(per_class.values())), total=np.array(figures["router_use"]))
        if len(figures["router_use"]) > 1
        else None,
        fold_encoders=[
            FoldEncoderScore(name=name, subjects=len(encoder["subjects"]), images=encoder["images"], macro_f1=encoder["data_sets"])
            for name, encoder in (folds.figures["encoders"] if folds else {}).items()
        ],
    )


def _smoothing(choice: dict[str, Any]) -> SmoothingCurve:
    """Scores of every kind of smoothing by window width; no smoothing is the width 0 of each."""
    chosen, bias = choice["postprocessing"]["smoothing"], choice["bias"]
    kinds = list(dict.fromkeys(row["kind"] for row in choice["table"] if row["window_s"])) or [chosen["kind"]]
    kind = chosen["kind"] if chosen["window_s"] else kinds[0]
    ascending = sorted(choice["table"], key=lambda row: row["window_s"])
    by_kind = {name: [row for row in ascending if row["kind"] == name or not row["window_s"]] for name in kinds}
    rows = by_kind.pop(kind)
    return SmoothingCurve(
        kind=kind,
        other_kinds={name: np.array([row["macro_f1"] for row in others]) for name, others in by_kind.items()},
        class_bias={name: bias[f"{name}_bias"]["pooled"] for name in ("with", "without")} if bias else {},
        class_bias_used=bool(bias and bias["used"]),
        class_bias_difference=_with_interval(bias["difference"]) if bias else None,
        window_s=np.array([row["window_s"] for row in rows]),
        score=np.array([row["macro_f1"] for row in rows]),
        folds=np.array([row["folds"] for row in rows]).T,
        selected_s=chosen["window_s"],
        in_sample=choice["in_sample"]["pooled"],
        cross_fitted=choice["cross_fitted"]["pooled"],
        optimism=_with_interval(choice["optimism"]),
        interval_in_sample=choice["in_sample"]["interval"],
        interval_cross_fitted=choice["cross_fitted"]["interval"],
    )


def _searches(run: Run[Any], fusion: Record) -> list[Search]:
    """All candidates of every search; a setting that a candidate did not change has the value of the sweep."""
    folder, figures = fusion.run_output, fusion.figures
    # the table's columns of these names are the search and the chosen number of epochs, not settings of a candidate
    settings = {name: value for name, value in flatten(fusion.settings["fusion"]).items() if name not in ("epochs", "mode")}
    curves = dict[tuple[str, int], list[float]]()
    if _missing_tables(run, fusion):
        return []
    for row in run.storage.read_table(f"{folder}/{EPOCHS_FILE}", columns=["mode", "candidate", "macro_f1"]).to_pylist():
        curves.setdefault((row["mode"], row["candidate"]), []).append(row["macro_f1"])
    found: dict[str, list[Candidate]] = {}
    for row in run.storage.read_table(f"{folder}/{CANDIDATES_FILE}").to_pylist():
        mode, number = row["mode"], row["candidate"]
        changes = {name: value for name, value in row.items() if name in settings and value is not None}
        found.setdefault(mode, []).append(
            Candidate(
                number=number + 1,
                trial=row["trial"],
                settings=settings | changes,
                curve=curves.get((mode, number), ()),
                stopped=row["stopped"],
                in_sample=row["in_sample"],
                cross_fitted=row["cross_fitted"],
                epochs=row["epochs"],
                chosen=number == figures["searches"].get(mode, {}).get("chosen"),
            )
        )
    return [Search(name=_MODES[mode], candidates=rows, importance=figures["importance"].get(mode, {})) for mode, rows in found.items()]


def _ablation(run: Run[Any]) -> list[AblationRow]:
    """Rows of an earlier ``abaw-ray ablation`` with the same storage."""
    if not run.storage.exists(ABLATION_FILE):
        return []
    return [AblationRow(**row) for row in json.loads(run.storage.read_bytes(ABLATION_FILE))["rows"]]


def _timelines(run: Run[Any], predictions: Record) -> list[Timeline]:
    """Validation people with their annotations and gates, then the people of the test release."""
    folder, storage = predictions.run_output, run.storage
    labels = annotated(run).labels
    logits = storage.read_table(f"{folder}/validation_logits.parquet", columns=["track", "frame", "gate"])
    timelines = _people(storage.read_table(f"{folder}/validation.parquet"), "validation", labels, logits)
    if storage.exists(f"{folder}/test.parquet"):
        timelines += _people(storage.read_table(f"{folder}/test.parquet"), "test release", {}, None)
    return timelines


def _people(table: pa.Table, group: str, labels: dict[str, np.ndarray], logits: pa.Table | None) -> list[Timeline]:
    timelines = []
    for track in sorted(set(table["track"].to_pylist())):
        rows = rows_of_track(table, track)
        gate = None if logits is None else rows_of_track(logits, track)["gate"].to_numpy()
        label = align_labels(labels[track], len(rows), track) if track in labels else None
        timelines.append(timeline_of(rows, label=label, gate=gate, group=group))
    return timelines
