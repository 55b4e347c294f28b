"""The input of the report from records and outputs, with and without the tables of the sweep."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch import report
from abaw_ray.cluster.launch.presets import SMOKE
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.stages.stage_two.tables import CANDIDATES_FILE, EPOCHS_FILE, write_tables
from abaw_ray.core.settings import to_plain
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.report.page import render

CANDIDATE = {"trial": 1, "stopped": False, "curve": [{"epoch": 1, "macro_f1": 0.25}, {"epoch": 2, "macro_f1": 0.375}], "changes": {}}
SMOOTHING = {"kind": "mean", "window_s": 1.0}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with no annotated subject, whose sweep had one candidate."""
    monkeypatch.setattr(report, "annotated", lambda run: SimpleNamespace(labels={}))
    run = Run(replace(SMOKE, storage=StorageConfig(uri=str(tmp_path))), RaySession(SMOKE.compute))
    rows = {name: pa.array([], kind) for name, kind in (("track", pa.string()), ("frame", pa.int64()), ("gate", pa.float32()))}
    for name in ("validation", "validation_logits"):
        run.storage.write_table(f"predictions/{name}.parquet", pa.table(rows))
    write_tables(run.storage, "fusion", {"fused": [CANDIDATE | {"epochs": 2, "score": 0.5, "cross_fitted": 0.4375}]})
    return run


@pytest.fixture
def records():
    counts, intervals = np.eye(8, dtype=int).tolist(), [[0.25, 0.5 + number / 20] for number in range(8)]
    interval = [0.4, 0.6]
    choice = {
        "postprocessing": {"smoothing": SMOOTHING},
        "bias": {
            "used": True,
            **{f"{name}_bias": {"pooled": 0.4} for name in ("with", "without")},
            "difference": {"macro_f1": 0.1, "interval": [0, 0.2]},
        },
        "table": [SMOOTHING | {"macro_f1": 0.5, "folds": [0.5, 0.25]}],
        "in_sample": {"pooled": 0.5, "interval": interval},
        "cross_fitted": {"pooled": 0.4375, "interval": None},
        "optimism": {"macro_f1": 0.0625, "interval": [-0.01, 0.12]},
    }
    fusion = {
        "cv": {"cross_fitted": {"confusion": counts, "per_class_intervals": intervals}},
        "official": choice,
        "searches": {"fused": {"chosen": 0}},
        "importance": {},
    }
    figures = {
        "encoder": {"copied_from": "a model", "source_sha256": "1a2b"},
        "fusion": fusion,
        "predictions": {"official_val": {"confusion": counts, "per_class_intervals": None}},
    }
    settings = {"fusion": to_plain(SMOKE.sweep)}
    return {
        name: Record(
            stage=name,
            store=name,
            outputs={"run": name},
            failures=[],
            settings=settings.get(name, {}),
            inputs=[],
            figures=figures[name],
            seconds=1.0,
            revision=1,
        )
        for name in figures
    }


SUMMARY = {"failures": []}


def test_f1_by_class_and_the_effect_of_the_bias_have_their_intervals_where_there_are_any(run, records):
    content = report.report_input(run, records, SUMMARY)
    official, folds = content.confusion_matrices
    assert official.f1_intervals is None and folds.f1_intervals.shape == (8, 2) and folds.f1_intervals[7].tolist() == [0.25, 0.85]
    assert content.smoothing.class_bias_difference == (0.1, 0, 0.2)
    smoothing = content.smoothing
    assert (smoothing.optimism, smoothing.interval_in_sample, smoothing.interval_cross_fitted) == ((0.0625, -0.01, 0.12), [0.4, 0.6], None)
    records["fusion"].figures["official"]["bias"] = None
    assert report.report_input(run, records, SUMMARY).smoothing.class_bias_difference is None


def test_the_candidates_of_the_sweep_are_listed_with_their_curves(run, records):
    content = report.report_input(run, records, SUMMARY)
    (search,) = content.searches
    (candidate,) = search.candidates
    assert (candidate.number, candidate.chosen, candidate.in_sample, candidate.epochs) == (1, True, 0.5, 2)
    assert list(candidate.curve) == [0.25, 0.375]
    assert not any("candidates" in note for note in content.notes) and 'id="sweep"' in render(content)


@pytest.mark.parametrize("missing", [(CANDIDATES_FILE,), (EPOCHS_FILE,), (CANDIDATES_FILE, EPOCHS_FILE)])
def test_without_the_tables_of_the_sweep_the_report_names_them_and_has_all_else(run, records, missing):
    for name in missing:
        run.storage.delete(f"fusion/{name}")
    content = report.report_input(run, records, SUMMARY)
    (note,) = [note for note in content.notes if "candidates" in note]
    assert all(f"fusion/{name}" in note for name in missing) and note.count("fusion/") == len(missing)
    page = render(content)
    assert 'id="sweep"' not in page and note in page
    assert [len(content.searches), len(content.confusion_matrices)] == [0, 2] and 'id="smoothing"' in page and 'id="confusion"' in page
