"""Annotations and videos -> work of the stages ``annotated_images``, ``baseline_vectors``, ``baselines`` and ``predictions``."""

from collections.abc import Mapping
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.workload import Workload
from abaw_ray.cluster.stages.annotations import annotated
from abaw_ray.cluster.stages.sources import videos
from abaw_ray.cluster.stages.workloads.videos import face_rows, totals_of_part, video_totals
from abaw_ray.core.expressions import UNLABELLED
from abaw_ray.core.stage_store.record import Item
from abaw_ray.encoder.folds.sampling import image_quotas
from abaw_ray.features.config import BaselineConfig
from abaw_ray.predict.estimate.measured import CPU

_SCANNED_US, _IMAGE_US = 10.3, 34.9
"""CPU time of reading one face with its chip, and of making an image of it."""
_BASELINE_FRAME_MS, _REGRESSION_ROW_MS, _REGRESSION_VALUES = 13.2, 0.161, 24 * 24
"""CPU time of pixels, pitch and energy of one frame, and of one training row of a regression on this many values."""
_MODEL_FRAME_US, _LABELS_FRAME_US = 23.5, 0.511
"""CPU time of one frame: logits by one fusion model of 1,024 and 768 values, and from logits to labels."""
_MODEL_FRAME_GFLOP = 2 * (1024 + 768) * 128 * 1.5 / 1e9
"""Arithmetic of the former: two projections to 128 values; gate and classifier are taken as half of it."""
_VALIDATION_MODELS, _VALIDATION_LABELS = 5, 6
"""Passes over Validation_Set: the official model, the same without audio or without faces, and two of one modality; also without smoothing."""
_SOURCES = ("annotated images, baselines and predictions: tools/benchmarks/stages-2026-11-29-epyc-2.json",)


def annotated_images_workload(run: Run[Any], todo: Mapping[Item, dict] | None) -> Workload:
    """Images of the unfinished subjects; of all where the faces do not exist yet."""
    labels, config = annotated(run).labels, run.config
    quotas = image_quotas(labels, config.encoder.classes, config.fold_encoders.images)
    names = labels.keys() if todo is None else {item.name for item in todo}
    images = sum(sum(quotas[name].values()) for name in names)
    faces = 0.0
    for row in videos(run).values():
        if subjects := sum(subject["track"] in names for subject in row["subjects"]):
            faces += subjects * face_rows(run, [row], None)  # the faces of a video are read once for each of its subjects
    return Workload(text=f"{images:,} images", cpu_s=(faces * _SCANNED_US + images * _IMAGE_US) / 1e6, sources=_SOURCES)


def baseline_vectors_workload(run: Run[Any], todo: Mapping[Item, dict] | None) -> Workload:
    """Pixels, pitch and energy of frames of the unfinished annotated videos; of all where the faces do not exist yet."""
    labels, config, names = annotated(run).labels, run.config.baselines, None if todo is None else {item.name for item in todo}
    rows = [
        row
        for row in videos(run).values()
        if (names is None or row["video"] in names) and any(subject["track"] in labels for subject in row["subjects"])
    ]
    sums = totals_of_part(run, rows)
    per_frame = min(sums.seconds / config.interval_s / sums.frames, 1.0) if sums.frames else 1.0
    frames = face_rows(run, rows, None) * per_frame
    seconds = (frames * _BASELINE_FRAME_MS * config.window_s / BaselineConfig().window_s + sums.audio_s * CPU.sound_ms) / 1e3
    return Workload(text=f"{frames:,.0f} faces, {1 / config.interval_s:g} a second", cpu_s=seconds, sources=_SOURCES)


def baselines_workload(run: Run[Any]) -> Workload:
    """The logistic regression on pixels; that on pitch and energy has two values per frame."""
    annotations, totals, config = annotated(run), video_totals(run), run.config.baselines
    labelled = sum(float((rows != UNLABELLED).sum()) for name, rows in annotations.labels.items() if annotations.splits[name] == "train")
    rows = labelled * (min(totals.seconds / config.interval_s / totals.frames, 1.0) if totals.frames else 1.0)
    seconds = rows * _REGRESSION_ROW_MS / 1e3 * config.img_size**2 / _REGRESSION_VALUES
    return Workload(text=f"regressions on {rows:,.0f} frames", cpu_s=seconds, parallel=1, sources=_SOURCES)


def predictions_workload(run: Run[Any]) -> Workload:
    """Scores of Validation_Set by the final models, and of the test release by those of the folds."""
    annotations, sweep = annotated(run), run.config.sweep
    val = sum(len(rows) for name, rows in annotations.labels.items() if annotations.splits[name] == "val")
    test = len(annotations.example)
    passes = sweep.final_seeds * (val * _VALIDATION_MODELS + test * sweep.folds)
    labels_s = (val * _VALIDATION_LABELS + test) * _LABELS_FRAME_US / 1e6
    gpu = run.compute.fusion.gpus > 0
    text = f"{val:,} frames" + (f" and {test:,} of the test release" if test else "")
    return Workload(
        text=text,
        cpu_s=labels_s + (0.0 if gpu else passes * _MODEL_FRAME_US / 1e6),
        gflop=passes * _MODEL_FRAME_GFLOP if gpu else 0.0,
        parallel=1,
        sources=_SOURCES,
    )
