"""Compares fusion models on synthetic data over several seeds: searched against unsearched settings, temporal heads against the frame-wise head.

python -m tools.data.compare_seeds --seeds 0 1 2          (three demos; their features are read)
python -m tools.data.compare_fusion --seeds 0 1 2         (about five minutes on one core)
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.table import Table

from abaw_ray.core.progress import console, echo
from abaw_ray.fusion import search
from abaw_ray.fusion.evaluation.protocols import score_official_val, train_official
from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1
from tools.bench.table import command_line, metadata
from tools.data.synthetic_search import SyntheticData, read_synthetic_data, run_search, score_subjects, selected_again

BASE = "unsearched"
VARIANTS: dict[str, dict[str, Any]] = {BASE: {}, "conv": {"head": "conv"}, "attention": {"head": "attention"}}
"""Changes of the preset's fusion settings by name; ``searched`` is that of the best candidate of a search."""
VIEWS = ("validation, unsmoothed", "validation", "folds of Train_Set")
"""Validation_Set by the official model without smoothing and with the selected postprocessing; cross-fitted scores of Train_Set."""
ByVariant = dict[tuple[str, str], list[Evaluation]]
"""Variant and view -> evaluations of the seeds."""


def main(seeds: tuple[int, ...] = (0, 1, 2), preset: str = "demo", out: Path | None = None) -> None:
    """Train each variant on each seed, and print macro-F1 and paired differences from the unsearched model.

    Args:
        seeds: Seeds of finished runs of ``tools.data.compare_seeds``.
        preset: Their preset.
        out: JSON file of all figures.
    """
    evaluations: ByVariant = {}
    for seed in seeds:
        for key, evaluation in evaluate(read_synthetic_data(seed, preset), f"seed {seed}").items():
            evaluations.setdefault(key, []).append(evaluation)
    figures = compare(evaluations)
    console.print(_table(figures))
    if out:
        command = command_line("tools.data.compare_fusion", seeds=seeds)
        run = metadata("torch") | {"command": command, "preset": preset, "seeds": seeds}
        out.write_text(json.dumps(run | {"scores": figures}, indent=1) + "\n")
        echo(str(out))


def evaluate(data: SyntheticData, name: str) -> dict[tuple[str, str], Evaluation]:
    """Evaluations of one seed by variant and view."""
    folds = data.folds()
    results = run_search(data, folds)
    best = search.best_candidate(results)
    found = {}
    for variant, changes in {**VARIANTS, "searched": results[best.index]["changes"]}.items():
        views = score_variant(data, folds, changes)
        if variant == "searched":  # the choice among the candidates is cross-fitted, too
            views["folds of Train_Set"] = best.evaluation
        echo(f"{name}, {variant}: " + ", ".join(f"{view} {_score(one):.3f}" for view, one in views.items()))
        found |= {(variant, view): one for view, one in views.items()}
    return found


def score_variant(data: SyntheticData, folds: Mapping[str, int], changes: Mapping[str, Any]) -> dict[str, Evaluation]:
    """Evaluations of one model by view; epochs and postprocessing are selected on the folds."""
    selected = selected_again(data, folds, changes)
    postprocessing = selected.selection.postprocessing
    unsmoothed = replace(postprocessing, smoothing=replace(postprocessing.smoothing, window_s=0.0))
    model = train_official(data.frames, search.candidate_config(data.config, changes), selected.epochs.final)
    _, logits, gate = score_official_val(model, data.frames)
    names = data.frames.subject_names("val")
    return {
        "validation, unsmoothed": score_subjects(data, names, logits, gate, unsmoothed),
        "validation": score_subjects(data, names, logits, gate, postprocessing),
        "folds of Train_Set": selected.cross_fitted,
    }


def compare(evaluations: ByVariant) -> list[dict[str, Any]]:
    """A row per view and variant: macro-F1 by seed, and the mean difference from the unsearched model with its 95 % interval over recordings."""
    rows = []
    for view in VIEWS:
        base = [one.counts for one in evaluations[BASE, view]]
        for variant in dict.fromkeys(name for name, _ in evaluations):
            counts = [one.counts for one in evaluations[variant, view]]
            row: dict[str, Any] = {"view": view, "variant": variant, "scores": [float(macro_f1(matrices.sum(axis=0))) for matrices in counts]}
            if variant != BASE:
                row["difference"], *row["interval"] = paired_difference(counts, base, seed=0)
            rows.append(row)
    return rows


def _score(evaluation: Evaluation) -> float:
    return float(macro_f1(evaluation.counts.sum(axis=0)))


def _table(figures: list[dict[str, Any]]) -> Table:
    table = Table("frames", "model", "macro-F1 by seed", "mean", f"difference from {BASE}", "95 % interval")
    for row in figures:
        shown = (f"{row['difference']:+.3f}", "{:+.3f} to {:+.3f}".format(*row["interval"])) if "interval" in row else ("", "")
        table.add_row(row["view"], row["variant"], " ".join(f"{score:.3f}" for score in row["scores"]), f"{np.mean(row['scores']):.3f}", *shown)
    return table


if __name__ == "__main__":
    tyro.cli(main)
