"""What the scores of a search on cross-validation folds are worth: in-sample and cross-fitted scores against those of a fully nested search.

python -m tools.data.compare_seeds --seeds 0 1 2          (three demos; their features are read)
python -m tools.data.nested_search --seeds 0 1 2          (six searches per seed: about ten minutes a seed on one core)

The nested search holds out one fold of Train_Set after the other: proposals, early stopping, the choice of the candidate, epochs, temperature,
smoothing and bias see the other recordings alone, and so does the model that scores the fold.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from abaw_ray.core.progress import console, echo
from abaw_ray.core.settings import from_plain
from abaw_ray.data.subjects import recording_of
from abaw_ray.fusion import search
from abaw_ray.fusion.evaluation.cross_validation import train_on_all
from abaw_ray.fusion.inference import predict_logits
from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1
from abaw_ray.scoring.postprocessing import Postprocessing
from tools.bench.table import command_line, metadata, run_main
from tools.data.synthetic_search import SyntheticData, read_synthetic_data, run_search, score_subjects

KINDS = ("in-sample", "cross-fitted", "nested")


def main(seeds: tuple[int, ...] = (0, 1, 2), preset: str = "demo", out: Path | None = None) -> None:
    """Search once with all folds and once without each, and print the scores and their paired differences.

    Args:
        seeds: Seeds of finished runs of ``tools.data.compare_seeds``.
        preset: Their preset.
        out: JSON file of all figures.
    """
    evaluations = {seed: evaluate(read_synthetic_data(seed, preset), f"seed {seed}") for seed in seeds}
    figures = compare(evaluations)
    console.print(_table(figures))
    if out:
        command = command_line("tools.data.nested_search", seeds=seeds)
        out.write_text(json.dumps(metadata("torch") | {"command": command, "preset": preset, **figures}, indent=1) + "\n")
        echo(str(out))


def evaluate(data: SyntheticData, name: str) -> dict[str, Evaluation]:
    """Scores of Train_Set's recordings by kind: of the chosen candidate with what was selected on the same folds, cross-fitted, and nested."""
    folds = data.folds()
    results = run_search(data, folds)
    best = search.best_candidate(results, data.config.min_gain_se)
    found = {"in-sample": best.in_sample, "cross-fitted": best.evaluation}
    echo(f"{name}: in-sample {found['in-sample'].macro_f1:.3f}, cross-fitted {found['cross-fitted'].macro_f1:.3f}")
    parts = []
    for fold in sorted(set(folds.values())):
        parts.append(score_outer_fold(data, [subject for subject, number in folds.items() if number == fold]))
        echo(f"{name}: fold {fold} held out from the search, {parts[-1].macro_f1:.3f}")
    return found | {"nested": joined(parts)}


def score_outer_fold(data: SyntheticData, held_out: list[str]) -> Evaluation:
    """Scores of these subjects by the winner of a search that has not seen their recordings."""
    hidden = {recording_of(name) for name in held_out}
    inner = replace(data, labels={name: rows for name, rows in data.labels.items() if recording_of(name) not in hidden})
    results = run_search(inner, inner.folds())
    winner = results[search.best_candidate(results, data.config.min_gain_se).index]
    config = search.candidate_config(data.config, winner["changes"])
    trained_on = np.array([subject.name in inner.labels for subject in data.frames.subjects])
    model = train_on_all(data.frames, trained_on, config, winner["epochs"])
    assert not model.provenance.recordings & hidden
    logits, gate = predict_logits(model, data.frames, data.frames.rows_of_subjects(held_out))
    postprocessing = from_plain(Postprocessing, winner["selection"]["postprocessing"], "postprocessing")
    return score_subjects(inner, held_out, logits, gate, postprocessing)


def joined(parts: list[Evaluation]) -> Evaluation:
    """The recordings of several evaluations as one."""
    names = [name for part in parts for name in part.recordings]
    return Evaluation.of_subjects(np.concatenate([part.counts for part in parts]), names)


def compare(evaluations: Mapping[int, Mapping[str, Evaluation]]) -> dict[str, Any]:
    """Macro-F1 by kind and seed, and the differences from the nested search, averaged over the seeds, with 95 % intervals over recordings."""
    counts = {kind: [of_seed[kind].counts for of_seed in evaluations.values()] for kind in KINDS}
    scores = {kind: [float(macro_f1(matrices.sum(axis=0))) for matrices in of_seeds] for kind, of_seeds in counts.items()}
    differences = {}
    for kind in KINDS[:2]:
        difference, *interval = paired_difference(counts[kind], counts["nested"], seed=0)
        differences[kind] = {"macro_f1": difference, "interval": interval}
    return {"seeds": list(evaluations), "recordings": [len(of_seed["nested"].recordings) for of_seed in evaluations.values()]} | {
        "scores": scores,
        "minus_nested": differences,
    }


def _table(figures: dict[str, Any]) -> Table:
    table = Table("score", "macro-F1 by seed", "mean", "difference from nested", "95 % interval", title="Train_Set of the synthetic data")
    for kind, scores in figures["scores"].items():
        row = figures["minus_nested"].get(kind)
        shown = (f"{row['macro_f1']:+.3f}", "{:+.3f} to {:+.3f}".format(*row["interval"])) if row else ("", "")
        table.add_row(kind, " ".join(f"{score:.3f}" for score in scores), f"{np.mean(scores):.3f}", *shown)
    return table


if __name__ == "__main__":
    run_main(main)
