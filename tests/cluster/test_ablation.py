"""The ablation: which stages a part touches, and what is compared. ``test_pipeline.py`` has a run on Ray."""

import json
from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.launch.ablation import ablate as module
from abaw_ray.cluster.launch.ablation.ablate import FULL, ablate, ablation_rows, own_stages, variants
from abaw_ray.cluster.launch.ablation.parts import PARTS, without
from abaw_ray.cluster.launch.config import AblationConfig
from abaw_ray.cluster.launch.presets import ablation_presets
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.core.errors import ConfigError, DataError, StageError
from abaw_ray.scoring.evaluation import Evaluation

SMOKE = ablation_presets()["smoke"][1]
NAMES = tuple("abcdef")


def run_of(config, tmp_path=None):
    if tmp_path:
        config = replace(config, storage=replace(config.storage, uri=str(tmp_path / "runs")))
    return Run(config, RaySession(config.compute, config.storage))


def with_parts(*parts, seeds=(0,)):
    return replace(SMOKE, ablation=AblationConfig(parts=parts, seeds=seeds))


def evaluation(correct):
    """Six recordings with 10 frames of each class, of which ``correct`` are correct."""
    matrix = correct * np.eye(8, dtype=np.int64) + (10 - correct) * np.roll(np.eye(8, dtype=np.int64), 1, axis=1)
    return Evaluation(NAMES, np.repeat(matrix[None], 6, axis=0))


def scores_of(correct):
    names = ("official", "official_unsmoothed", "official_without_audio", "official_without_faces", "visual", "speech")
    return {name: evaluation(max(correct - number, 0)) for number, name in enumerate(names)}


def test_every_part_has_what_it_compares():
    assert set(PARTS) == set(AblationConfig().parts)
    names = set(scores_of(8))
    assert {name for part in PARTS.values() for one in part.comparisons for name in (one.with_part, one.without_part)} <= names


TOUCHED = {
    "padaug": ["encoder", "features", "fusion", "predictions"],
    "moe": ["encoder", "features", "fusion", "predictions"],
    "scales": ["features", "fusion", "predictions"],
    "gate": ["fusion", "predictions"],
    "modality_dropout": ["fusion", "predictions"],
}


@pytest.mark.parametrize("part", TOUCHED)
def test_a_part_computes_only_the_stages_that_it_touches_again(part):
    full, other = variants(run_of(with_parts(part)))
    assert (full.name, other.name) == (FULL, part)
    assert own_stages(other.run, full.run) == TOUCHED[part]


def test_parts_that_every_run_scores_need_no_run_of_their_own():
    assert [one.name for one in variants(run_of(with_parts("audio", "faces", "smoothing", seeds=(0, 1))))] == [FULL, FULL]


def test_the_searches_cannot_bring_a_part_back():
    assert without(SMOKE, "gate").sweep.search_space.gate == ("mean",)
    assert without(SMOKE, "modality_dropout").sweep.search_space.modality_dropout == (0.0, 0.0)


def test_an_ablation_keeps_the_face_crops_that_the_next_variant_reads():
    with pytest.raises(ConfigError, match=r"leave out --no-keep-chips"):
        replace(with_parts("moe"), keep_chips=False)


def test_settings_without_a_part_cannot_be_compared_without_it():
    flat = replace(SMOKE, encoder=replace(SMOKE.encoder, moe=replace(SMOKE.encoder.moe, num_experts=1, top_k=1)))
    with pytest.raises(ConfigError, match=r"ablation.parts=moe: these settings are without it already"):
        without(flat, "moe")


@pytest.mark.parametrize(("changes", "message"), [({"seeds": ()}, "ablation.seeds"), ({"seeds": (1, 1)}, "1 1"), ({"parts": ("x",)}, "x is unknown")])
def test_an_empty_or_double_comparison_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AblationConfig(**changes)


def test_synthetic_data_have_a_folder_for_each_seed_and_real_data_share_theirs():
    first, second = (one.run.config for one in variants(run_of(with_parts("smoothing", seeds=(0, 1)))))
    assert first.storage.uri != second.storage.uri and first.data.synthetic_dir != second.data.synthetic_dir
    real = replace(with_parts("smoothing", seeds=(0, 1)), data=ablation_presets()["paper"][1].data)
    first, second = (one.run.config for one in variants(run_of(real)))
    assert first.storage == second.storage and (first.encoder.seed, second.encoder.seed) == (0, 1)
    assert (second.sweep.seed, second.sweep.fusion.seed) == (1, 1)


def test_further_seeds_of_real_data_compute_faces_and_images_once():
    real = replace(with_parts("smoothing", seeds=(0, 1)), data=ablation_presets()["paper"][1].data)
    first, second = variants(run_of(real))
    assert own_stages(second.run, first.run) == ["encoder", "features", "fusion", "predictions"]
    first, second = variants(run_of(with_parts("smoothing", seeds=(0, 1))))
    assert own_stages(second.run, first.run) == ["faces", "images", "encoder", "features", "fusion", "predictions"]


def test_without_the_full_run_of_a_seed_its_parts_are_not_run(tmp_path, monkeypatch):
    asked = []

    def fake(run):
        asked.append((run.config.sweep.seed, run.config.sweep.fusion.gate))
        if run.config.sweep.seed == 1:
            raise DataError("images: damaged")
        return scores_of(9)

    monkeypatch.setattr(module, "_evaluations", fake)
    with pytest.raises(StageError, match="first seed 1, full method: images: damaged"):
        ablate(run_of(with_parts("gate", seeds=(0, 1)), tmp_path))
    assert asked == [(0, "frame"), (0, "mean"), (1, "frame")]


def test_a_row_is_the_paired_difference_over_the_seeds_that_have_both_runs():
    scores = {(FULL, 0): scores_of(9), (FULL, 1): scores_of(8), ("gate", 0): scores_of(7), (FULL, 2): scores_of(9)}
    (gate,) = ablation_rows(scores, ("gate",))
    assert gate.seeds == [0] and gate.with_part == [pytest.approx(0.9)] and gate.without_part == [pytest.approx(0.7)]
    assert gate.difference == pytest.approx(0.2) and gate.interval == pytest.approx([0.2, 0.2])
    (smoothing,) = ablation_rows(scores, ("smoothing",))
    assert smoothing.seeds == [0, 1, 2] and smoothing.difference == pytest.approx(0.1)
    assert [row.scored for row in ablation_rows({**scores, ("modality_dropout", 0): scores_of(9)}, ("modality_dropout",))][1:] == [
        "both with audio masked",
        "both with faces masked",
    ]
    assert ablation_rows({(FULL, 0): scores_of(9)}, ("gate",)) == []


def test_a_run_that_fails_does_not_keep_the_others_from_the_table(tmp_path, monkeypatch, capsys):
    def fake(run):
        if run.config.sweep.fusion.gate == "mean" and run.config.sweep.seed == 1:
            raise DataError("features: damaged")
        return scores_of(8 if run.config.sweep.fusion.gate == "mean" else 9)

    monkeypatch.setattr(module, "_evaluations", fake)
    run = run_of(with_parts("gate", "smoothing", seeds=(0, 1)), tmp_path)
    with pytest.raises(StageError, match=r"1 of 4 runs failed, the table has the others; first seed 1, without gate: features: damaged"):
        ablate(run)
    figures = json.loads(run.storage.read_bytes("ablation.json"))
    assert [(row["part"], row["seeds"]) for row in figures["rows"]] == [("gate", [0]), ("smoothing", [0, 1])]
    assert figures["failures"] == {"seed 1, without gate": "features: damaged"}
    assert run.storage.read_table("ablation.parquet").num_rows == 2
    assert "seed 1, without gate failed and is left out: features: damaged" in run.storage.read_bytes("ablation.html").decode()
    printed = capsys.readouterr().out
    assert str(tmp_path / "runs" / "ablation.html") in printed


def test_where_nothing_succeeds_the_first_error_is_raised(tmp_path, monkeypatch):
    def fail(run):
        raise DataError("videos: none")

    monkeypatch.setattr(module, "_evaluations", fail)
    with pytest.raises(DataError, match="videos: none"):
        ablate(run_of(with_parts("gate"), tmp_path))
