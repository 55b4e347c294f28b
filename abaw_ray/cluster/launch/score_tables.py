"""``summary.json`` -> tables for the terminal: scores with intervals, differences, and what the searches chose."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.report.score_rows import DIFFERENCES


def score_tables(summary: dict[str, Any]) -> list[Table]:
    """Scores; differences of the official model from the others; scores of the searches."""
    return [_scores(summary), _differences(summary), _searches(summary)]


def _scores(summary: dict[str, Any]) -> Table:
    official, cv, baselines = summary["official_val"], summary["cv"], summary["baselines"]
    per_class = ", ".join(f"{name} {score:.2f}" for name, score in zip(EXPRESSIONS, official["per_class"], strict=True))
    table = _table("macro-F1", "model", "score", "95 % interval", "details")
    for name, score, interval, details in (
        ("official validation", official["macro_f1"], official["interval"], per_class),
        ("  new recordings only", official["macro_f1_unshared"], official["interval_unshared"], "without recordings that are in Train_Set too"),
        ("five folds, mean", cv["macro_f1_mean"], None, f"+- {cv['macro_f1_std']:.3f}: {', '.join(f'{fold:.3f}' for fold in cv['folds'])}"),
        ("five folds, pooled", cv["macro_f1"], cv["interval"], f"optimism of the selection {_optimism(cv)}"),
        ("face only", *_pair(summary["visual_only"]), "a separate model, official validation"),
        ("audio only", *_pair(summary["audio_only"]), "a separate model, official validation"),
        ("raw pixels", *_pair(baselines["pixels"]), "logistic regression"),
        ("pitch and energy", *_pair(baselines["pitch_energy"]), "logistic regression"),
        ("chance", summary["chance_macro_f1"], None, "random labels at the class frequencies"),
    ):
        table.add_row(name, f"{score:.3f}", _range(interval), details)
    if "repeats" in cv:
        repeats = cv["repeats"]
        details = f"+- {repeats['std']:.3f} over {len(repeats['macro_f1'])} assignments of folds"
        table.add_row("repeated folds, mean", f"{repeats['mean']:.3f}", "", details)
    return table


def _differences(summary: dict[str, Any]) -> Table:
    table = _table("official validation minus", "other", "difference", "95 % interval, paired")
    for name, row in summary["differences"].items():
        table.add_row(DIFFERENCES[name], f"{row['macro_f1']:+.3f}", _range(row["interval"], "+.3f"))
    return table


def _searches(summary: dict[str, Any]) -> Table:
    table = _table("searches on folds of Train_Set", "model", "in-sample", "cross-fitted", "95 % interval", "optimism", "validation")
    for mode, row in summary["searches"].items():
        scores = (f"{row[name]:.3f}" for name in ("in_sample", "cross_fitted"))
        table.add_row(mode, *scores, _range(row["interval"]), _optimism(row), f"{row['validation']['macro_f1']:.3f}")
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in columns:
        table.add_column(name, justify="left" if name in ("model", "other", "details") else "right")
    return table


def _pair(score: dict[str, Any]) -> tuple[float, Sequence[float] | None]:
    return score["macro_f1"], score["interval"]


def _optimism(row: dict[str, Any]) -> str:
    """The optimism of a search or selection, with its paired interval."""
    interval = _range(row["interval_optimism"], "+.3f")
    return f"{row['optimism']:+.3f}" + (f" ({interval})" if interval else "")


def _range(interval: Sequence[float] | None, form: str = ".3f") -> str:
    return f"{interval[0]:{form}} to {interval[1]:{form}}" if interval else ""
