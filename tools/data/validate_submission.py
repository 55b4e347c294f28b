"""Check a submission of the EXPR challenge against the example file of the test release.

python -m tools.data.validate_submission submission.txt EXPR_test_example.txt
"""

import sys
from pathlib import Path

import tyro

from abaw_ray.core.errors import AbawError
from abaw_ray.data.release import parse_example
from abaw_ray.data.trees import open_file
from abaw_ray.scoring.submission import validate_submission


def main(submission: tyro.conf.Positional[Path], example: tyro.conf.Positional[Path]) -> int:
    """Check header, rows, their order and number, and labels of a submission.

    Args:
        submission: The file to check.
        example: The example file of the test release.

    Returns:
        The exit code: 0, or that of the error, whose message has file and line.
    """
    try:
        required = parse_example(_read(example), str(example))
        validate_submission(_read(submission), required, str(submission))
    except AbawError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{submission}: {len(required):,} rows of {len({name for name, _ in required})} subjects, in order, every label from 0 to 7")
    return 0


def _read(path: Path) -> str:
    tree, name = open_file(path)
    return tree.read_text(name)


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.data.validate_submission"))
