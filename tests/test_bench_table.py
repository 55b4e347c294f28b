"""The command line in the metadata of a benchmark run."""

from pathlib import Path

import pytest

from tools.bench.table import command_line


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "python -m tools.x"),
        ({"quick": False, "clip": None, "only": (), "rounds": 0}, "python -m tools.x --rounds 0"),
        ({"clips": Path("/home/me/clips"), "quick": True, "share": 0.65}, "python -m tools.x --clips clips --quick --share 0.65"),
        ({"seeds": (0, 1), "only": ("stage", "pool")}, "python -m tools.x --seeds 0 1 --only stage pool"),
    ],
)
def test_options_are_written_as_they_are_given_and_paths_without_their_folder(options, text):
    assert command_line("tools.x", **options) == text
