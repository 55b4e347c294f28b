"""The command line of a tool: in its metadata, and its errors."""

from pathlib import Path

import pytest

from abaw_ray.core.errors import DataError
from tools.bench.table import command_line, run_main


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "python -m tools.x"),
        ({"quick": False, "clip": None, "only": (), "rounds": 0}, "python -m tools.x --rounds 0"),
        ({"clips": Path("/home/me/clips"), "quick": True, "share": 0.65}, "python -m tools.x --clips clips --quick --share 0.65"),
        ({"search_heads": ("conv",)}, "python -m tools.x --search-heads conv"),
        ({"seeds": (0, 1), "only": ("stage", "pool")}, "python -m tools.x --seeds 0 1 --only stage pool"),
    ],
)
def test_options_are_written_as_they_are_given_and_paths_without_their_folder(options, text):
    assert command_line("tools.x", **options) == text


def test_an_error_of_the_input_is_one_line_and_its_exit_code(monkeypatch, capsys):
    def main(count: int = 0) -> None:
        raise DataError(f"{count} files: too few; name more")

    monkeypatch.setattr("sys.argv", ["tool", "--count", "2"])
    with pytest.raises(SystemExit) as end:
        run_main(main)
    assert end.value.code == DataError.exit_code
    assert capsys.readouterr().err == "error: 2 files: too few; name more\n"
