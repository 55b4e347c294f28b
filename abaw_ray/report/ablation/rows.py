"""Rows of the table of an ablation: scores with and without a part, and their paired difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from rich.padding import Padding
from rich.table import Table

from abaw_ray.scoring.bootstrap import paired_difference
from abaw_ray.scoring.evaluation import Evaluation
from abaw_ray.scoring.metrics import macro_f1

ABLATION_FILE = "ablation.json"
"""Path of the rows as JSON below the storage root."""
_SEED = 0
"""Of the resampling."""
_INDENT = (0, 0, 0, 1)
"""Space around a row of a part in the terminal: one column to the left."""


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
    """The table for the terminal: a line with the name of each part, below it its rows, each with a line of the differences by seed. Up to three
    seeds fit into 80 columns; the differences of more of them are wrapped.
    """
    table = Table(title="macro-F1 with and without each part; intervals are paired", title_justify="left", show_edge=False)
    table.add_column("part")
    for name in ("with", "without", "diff.", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for part, of_part in groupby(rows, key=lambda row: row.part):
        table.add_row(part)
        for row in of_part:
            interval = f"{row.interval[0]:+.3f} to {row.interval[1]:+.3f}" if row.interval else ""
            means = (f"{np.mean(scores):.3f}" for scores in (row.with_part, row.without_part))
            table.add_row(Padding(row.scored, _INDENT), *means, f"{row.difference:+.3f}", interval)
            if len(row.seeds) > 1:
                table.add_row(Padding(f"by seed {' '.join(f'{one:+.3f}' for one in row.differences)}", _INDENT))
    return table
