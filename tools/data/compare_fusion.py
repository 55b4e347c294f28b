"""Compares fusion models on synthetic data over several seeds: searched against unsearched settings, temporal heads against the frame-wise head.

python -m tools.data.compare_seeds --seeds 0 1 2          (three demos; their features are read)
python -m tools.data.compare_fusion --seeds 0 1 2         (about ten minutes on one core)
python -m tools.data.compare_fusion --seeds 0 1 2 --trials 12 --search-heads conv attention
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from abaw_ray.cluster.launch.presets import PRESETS
from abaw_ray.core.progress import console, echo
from abaw_ray.fusion import search
from abaw_ray.fusion.config import Head
from abaw_ray.fusion.evaluation.protocols import score_official_val, train_official
from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1
from tools.bench.table import command_line, metadata, run_main
from tools.data.synthetic_search import SyntheticData, read_synthetic_data, run_search, score_subjects, selected_again

BASE, SEARCHED = "unsearched", "searched"
VARIANTS: dict[str, dict[str, Any]] = {BASE: {"head": "frame"}, "conv": {"head": "conv"}, "attention": {"head": "attention"}}
"""Changes of the preset's fusion settings by name. The others are those of the best candidate of a search: ``searched`` with the frame-wise head,
``searched, conv`` and ``searched, attention`` of a search for that head.
"""
BASES = {BASE: "from_unsearched", SEARCHED: "from_searched"}
"""Models that others are compared with -> name of the difference in the file."""
VIEWS = ("validation, unsmoothed", "validation", "folds of Train_Set")
"""Validation_Set by the official model without smoothing and with the selected postprocessing; cross-fitted scores of Train_Set."""
ByVariant = dict[tuple[str, str], list[Evaluation]]
"""Variant and view -> evaluations of the seeds."""


def main(
    seeds: tuple[int, ...] = (0, 1, 2),
    preset: str = "demo",
    trials: int | None = None,
    search_heads: tuple[Head, ...] = (),
    out: Path | None = None,
) -> None:
    """Train each variant on each seed, and print macro-F1 and paired differences from the unsearched and the searched model.

    Args:
        seeds: Seeds of finished runs of ``tools.data.compare_seeds``.
        preset: Their preset.
        trials: Trials of each search, each with a population of candidates; by default those of the preset.
        search_heads: Heads that have a search of their own, besides ``frame``.
        out: JSON file of all figures.
    """
    sweep, evaluations = PRESETS[preset][1].sweep, ByVariant()
    trials = sweep.trials if trials is None else trials
    for seed in seeds:
        data = read_synthetic_data(seed, preset)
        data = replace(data, config=replace(data.config, trials=trials))
        for key, evaluation in evaluate(data, f"seed {seed}", search_heads).items():
            evaluations.setdefault(key, []).append(evaluation)
    figures = compare(evaluations)
    console.print(_table(figures))
    if out:
        command = command_line("tools.data.compare_fusion", seeds=seeds, preset=preset, trials=trials, search_heads=search_heads)
        run = metadata("torch", "optuna") | {"command": command, "preset": preset, "seeds": seeds, "candidates": sweep.candidates}
        out.write_text(json.dumps(run | {"scores": figures}, indent=1) + "\n")
        echo(str(out))


def evaluate(data: SyntheticData, name: str, search_heads: Sequence[Head] = ()) -> dict[tuple[str, str], Evaluation]:
    """Evaluations of one seed by variant and view."""
    folds, by_variant = data.folds(), dict[str, dict[str, Evaluation]]()
    for variant, changes in VARIANTS.items():
        by_variant[variant] = score_variant(data, folds, changes)
        _print(f"{name}, {variant}", by_variant[variant])
    for head in dict.fromkeys(("frame", *search_heads)):
        variant = SEARCHED if head == "frame" else f"{SEARCHED}, {head}"
        by_variant[variant] = score_searched(data, folds, head)
        _print(f"{name}, {variant}", by_variant[variant])
    return {(variant, view): one for variant, views in by_variant.items() for view, one in views.items()}


def score_searched(data: SyntheticData, folds: Mapping[str, int], head: Head) -> dict[str, Evaluation]:
    """Evaluations by view of the best candidate of a search whose candidates all have this head."""
    of_head = replace(data, config=replace(data.config, fusion=replace(data.config.fusion, head=head)))
    results = run_search(of_head, folds)
    best = search.best_candidate(results, data.config.min_gain_se)
    views = score_variant(of_head, folds, results[best.index]["changes"])
    return views | {"folds of Train_Set": best.evaluation}  # the choice among the candidates is cross-fitted, too


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
    """A row per view and variant: macro-F1 by seed, and mean differences from the models of ``BASES`` with 95 % intervals over recordings."""
    rows = []
    for view in VIEWS:
        for variant in dict.fromkeys(name for name, _ in evaluations):
            counts = [one.counts for one in evaluations[variant, view]]
            row: dict[str, Any] = {"view": view, "variant": variant, "scores": [float(macro_f1(matrices.sum(axis=0))) for matrices in counts]}
            for base in _compared_with(variant):
                difference, *interval = paired_difference(counts, [one.counts for one in evaluations[base, view]], seed=0)
                row[BASES[base]] = {"macro_f1": difference, "interval": interval}
            rows.append(row)
    return rows


def _compared_with(variant: str) -> tuple[str, ...]:
    """The unsearched model; and the searched one for other heads that are searched."""
    if variant == BASE:
        return ()
    return (BASE, SEARCHED) if variant.startswith(f"{SEARCHED}, ") else (BASE,)


def _print(name: str, views: Mapping[str, Evaluation]) -> None:
    echo(f"{name}: " + ", ".join(f"{view} {one.macro_f1:.3f}" for view, one in views.items()))


def _table(figures: list[dict[str, Any]]) -> Table:
    table = Table("frames", "model", "macro-F1 by seed", "mean", *(f"difference from {base}" for base in BASES))
    for row in figures:
        shown = ["{macro_f1:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f})".format(**row[name]) if name in row else "" for name in BASES.values()]
        table.add_row(row["view"], row["variant"], " ".join(f"{score:.3f}" for score in row["scores"]), f"{np.mean(row['scores']):.3f}", *shown)
    return table


if __name__ == "__main__":
    run_main(main)
