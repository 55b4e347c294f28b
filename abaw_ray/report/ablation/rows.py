"""Rows of the table of an ablation: scores with and without a part, and their paired difference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1

ABLATION_FILE = "ablation.json"
"""Path of the rows as JSON below the storage root."""
_SEED = 0
"""Of the resampling."""


@dataclass(frozen=True, kw_only=True)
class AblationRow:
    """One part in one comparison. Scores are macro-F1, by seed."""

    part: str
    instead: str
    """What takes its place."""
    scored: str
    """What is scored."""
    seeds: list[int]
    with_part: list[float]
    without_part: list[float]
    difference: float
    """Mean over the seeds, with the part minus without it."""
    interval: list[float] | None
    """Ends of its paired 95 % interval over recordings; None with fewer than two of them."""

    @property
    def differences(self) -> list[float]:
        """Difference of each seed."""
        return [one - other for one, other in zip(self.with_part, self.without_part, strict=True)]


def ablation_row(
    part: str, instead: str, scored: str, seeds: Sequence[int], with_part: Sequence[Evaluation], without_part: Sequence[Evaluation]
) -> AblationRow:
    """The row of two evaluations per seed.

    Raises:
        ValueError: the evaluations of a seed have other recordings or annotations.
    """
    a, b = [one.counts for one in with_part], [one.counts for one in without_part]
    difference, *interval = paired_difference(a, b, seed=_SEED)
    scores = [[float(macro_f1(one.sum(axis=0))) for one in counts] for counts in (a, b)]
    return AblationRow(
        part=part,
        instead=instead,
        scored=scored,
        seeds=list(seeds),
        with_part=scores[0],
        without_part=scores[1],
        difference=difference,
        interval=interval if min(map(len, a)) > 1 else None,
    )


def terminal_table(rows: Sequence[AblationRow]) -> Table:
    """The table for the terminal."""
    table = Table(title="macro-F1 with and without each part", title_justify="left", show_edge=False)
    for name in ("part", "scored", "with", "without", "difference", "95 % interval, paired", "by seed"):
        table.add_column(name, justify="left" if name in ("part", "scored") else "right")
    for row in rows:
        interval = f"{row.interval[0]:+.3f} to {row.interval[1]:+.3f}" if row.interval else ""
        by_seed = " ".join(f"{one:+.3f}" for one in row.differences)
        means = (f"{np.mean(scores):.3f}" for scores in (row.with_part, row.without_part))
        table.add_row(row.part, row.scored, *means, f"{row.difference:+.3f}", interval, by_seed)
    return table
