"""The page of an ablation."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from abaw_ray.report.ablation.page import AblationPage, render_ablation
from abaw_ray.report.ablation.rows import ablation_row, terminal_table
from abaw_ray.report.inputs import ReportInput
from abaw_ray.report.page import render
from abaw_ray.scoring.evaluation import Evaluation


def evaluation(seed, recordings=4):
    counts = np.random.default_rng(seed).integers(1, 9, (recordings, 8, 8))
    counts[:, :, 0] += 80 - counts.sum(axis=2)  # the same annotations in every evaluation
    return Evaluation(tuple(map(str, range(recordings))), counts)


@pytest.fixture
def rows():
    return [
        ablation_row("gate", "the mean", "Validation_Set", [0, 1], [evaluation(0), evaluation(1)], [evaluation(2), evaluation(3)]),
        ablation_row("audio", "none <&", "against a model of the faces", [0], [evaluation(4)], [evaluation(5)]),
        ablation_row("audio", "none <&", "against audio masked", [0], [evaluation(4, 1)], [evaluation(6, 1)]),
    ]


def test_a_row_has_the_scores_and_the_difference_of_each_seed(rows):
    assert rows[0].difference == pytest.approx(np.mean(rows[0].differences))
    assert rows[0].interval[0] <= rows[0].difference <= rows[0].interval[1]
    assert rows[2].interval is None


def test_the_page_shows_every_row_with_its_interval_and_escapes_text(rows):
    page = render_ablation(AblationPage(rows=rows, run="results in here", synthetic=True, failures={"seed 1": "broken"}))
    assert page.count("<tbody>") == 2 and page.count('class="range"') == 3 and page.count('class="seed"') == 4
    assert "none &lt;&amp;" in page and "none <&" not in page
    assert f"{rows[0].difference:+.3f}" in page and f"{rows[0].interval[0]:+.3f} to {rows[0].interval[1]:+.3f}" in page
    assert "seed 1 failed and is left out: broken" in page and "synthetic" in page
    assert "mean over 2 seeds (0, 1)" in page


def test_only_intervals_without_zero_are_strong():
    same = evaluation(0)
    better = Evaluation(same.recordings, np.eye(8, dtype=int) * same.counts.sum(axis=2)[:, :, None])
    rows = [ablation_row("gate", "", "", [0], [same], [same]), ablation_row("moe", "", "", [0], [better], [same])]
    page = render_ablation(AblationPage(rows=rows))
    assert page.count('class="interval clear"') == 1 and page.count('class="interval"') == 1


def test_everything_lies_on_the_axis(rows):
    places = [float(value) for value in re.findall(r"left:(-?[\d.]+)%", render_ablation(AblationPage(rows=rows)))]
    assert places and min(places) >= 0 and max(places) <= 100


def test_the_terminal_table_has_one_line_per_row_and_one_for_its_seeds_at_80_columns():
    seeds = [0, 1, 2]
    counts = [[evaluation(seed) for seed in seeds], [evaluation(seed + 3) for seed in seeds]]
    labels = [("modality_dropout", "Validation_Set"), ("audio", "against a model of the faces"), ("audio", "both with audio masked")]
    rows = [ablation_row(part, "none", scored, seeds, *counts) for part, scored in labels]
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table(rows))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 3 + len({part for part, _ in labels}) + 2 * len(rows) and max(map(len, lines)) <= 80
    for row in rows:
        (line,) = [line for line in lines if row.scored in line]
        assert f"{row.difference:+.3f}" in line and f"{row.interval[0]:+.3f} to {row.interval[1]:+.3f}" in line
    assert sum("by seed" in line for line in lines) == len(rows)
    assert " ".join(f"{one:+.3f}" for one in rows[0].differences) in "".join(lines)


def test_the_terminal_table_of_one_seed_has_no_lines_by_seed():
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table([ablation_row("gate", "the mean", "Validation_Set", [0], [evaluation(0)], [evaluation(1)])]))
    assert "by seed" not in console.file.getvalue() and "Validation_Set" in console.file.getvalue()


def test_the_report_of_a_run_has_the_table_where_there_is_one(rows):
    page = render(ReportInput(summary={}, ablation=rows))
    assert page.count('class="range"') == 3 and 'href="#ablation"' in page and ".ablation .range" in page
    assert 'id="ablation"' not in render(ReportInput(summary={}))


def test_a_page_without_rows_is_a_page():
    assert "What each part adds" in render_ablation(AblationPage(rows=[]))
