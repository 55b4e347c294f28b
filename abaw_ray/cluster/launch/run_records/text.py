"""Records of runs as lines for the terminal: a list, one run, two runs side by side."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from abaw_ray.cluster.launch.run_records.paired import PairedScore
from abaw_ray.cluster.launch.run_records.record import RunRecord
from abaw_ray.core.text_columns import text_columns
from abaw_ray.core.units import duration_text

_SCORES = {"official_val": "official", "cv": "five folds"}
"""Scores with columns of their own in the list, and their titles."""


def list_lines(runs: Sequence[RunRecord]) -> list[str]:
    """One line per run, the last one last."""
    rows: list[tuple[str, ...]] = [("run", "command", "status", "took", "machine hours", "USD", *_SCORES.values(), "settings")]
    for run in runs:
        scores = [_score(run.scores.get(name)) for name in _SCORES]
        rows.append((run.id, run.command, run.status, _took(run), hours_text(run.machine_hours), _usd(run.usd), *scores, run.settings[:8]))
    return text_columns(rows)


def run_lines(run: RunRecord, settings: Mapping[str, Any]) -> list[str]:
    """Everything that the record of one run has, and its settings that affect results."""
    head = [
        ("run", run.id),
        ("command", run.command),
        ("status", run.status + (f": {run.error}" if run.error else "")),
        ("started", run.started),
        ("took", _took(run)),
        ("machine hours", hours_text(run.machine_hours)),
        ("USD", _usd(run.usd) + (f", prices of {run.prices}" if run.prices else "")),
        ("machine", run.host),
        ("code", f"{run.code}, git {run.git or 'unknown'}"),
        ("settings", run.settings),
    ]
    stages = [("stage", "took", "outputs", "failed", "machine hours", "USD")]
    for name, stage in run.stages.items():
        stages.append((name, _stage_text(run, name), f"{stage.items:,}", f"{stage.failed:,}", hours_text(stage.machine_hours), _usd(stage.usd)))
    scores = [("macro-F1", ""), *((name, _score(value)) for name, value in run.scores.items())]
    values = [("setting", "value"), *((name, str(value)) for name, value in sorted(settings.items()))]
    return [*text_columns(head), "", *text_columns(stages), "", *text_columns(scores), "", *text_columns(values)]


def compare_lines(
    first: RunRecord, second: RunRecord, settings: tuple[Mapping[str, Any], Mapping[str, Any]], paired: Mapping[str, PairedScore]
) -> list[str]:
    """Scores, durations and settings of two runs, as far as they differ; ``paired`` has the scores that follow from recordings, by name."""
    rows = [("", first.id, second.id, "second minus first" + (" (95 % interval, paired by recording)" if paired else ""))]
    rows += [(name, getattr(first, name), getattr(second, name), "") for name in ("command", "status", "started", "settings", "code", "git")]
    rows += [("took", _took(first), _took(second), "")]
    rows += [("machine hours", hours_text(first.machine_hours), hours_text(second.machine_hours), "")]
    rows += [("USD", _usd(first.usd), _usd(second.usd), "" if first.usd is None or second.usd is None else f"{second.usd - first.usd:+.2f}")]
    for name in _union(_union(first.scores, second.scores), paired):
        one, other = (paired[name].first, paired[name].second) if name in paired else (first.scores.get(name), second.scores.get(name))
        difference = f"{other - one:+.3f}" if one is not None and other is not None else ""
        rows.append((f"macro-F1 {name}", _score(one), _score(other), difference + _interval(paired.get(name))))
    for name in _union(first.stages, second.stages):
        rows.append((f"stage {name}", _stage_text(first, name), _stage_text(second, name), ""))
    old, new = settings
    for name in sorted(_union(old, new)):
        if old.get(name) != new.get(name):
            rows.append((name, str(old.get(name, "-")), str(new.get(name, "-")), ""))
    return text_columns(rows)


def hours_text(hours: Mapping[str, float]) -> str:
    """Machine hours by type: ``3.20 g5.2xlarge, 0.50 m7i.4xlarge``."""
    return ", ".join(f"{value:.2f} {kind}" for kind, value in sorted(hours.items())) or "-"


def _took(run: RunRecord) -> str:
    if not run.finished:
        return "-"
    return duration_text((datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds())


def _stage_text(run: RunRecord, name: str) -> str:
    if name not in run.stages:
        return "-"
    stage = run.stages[name]
    if stage.already_done:
        return "already done"
    return duration_text(stage.seconds) + ("" if stage.finished else ", unfinished")


def _usd(cost: float | None) -> str:
    return "-" if cost is None else f"{cost:.2f}"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(score: PairedScore | None) -> str:
    if score is None:
        return ""
    return " ({:+.3f} to {:+.3f})".format(*score.interval) if score.interval else " (no interval: different frames, or one recording)"


def _union(first: Iterable[str], second: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
