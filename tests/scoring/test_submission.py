import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.data.release import HEADER
from abaw_ray.scoring.submission import FillCounts, submission_text, validate_submission, write_submission

ROOT = Path(__file__).parents[2]
EXAMPLE = [("b_left", 1), ("b_left", 2), ("b_left", 3), ("b_left", 4), ("a", 3), ("a", 1), ("gone", 1), ("dark", 2)]
PREDICTED = {"a": np.array([2, 3, 4]), "b_left": np.array([-1, 5, -1]), "dark": np.array([-1, -1]), "not asked for": np.array([1])}


def test_every_row_of_the_example_is_written_in_its_order_and_filled_rows_are_counted():
    text, filled = submission_text(EXAMPLE, PREDICTED, default=7)
    assert text.splitlines() == [
        HEADER,
        "b_left/00001.jpg,5",
        "b_left/00002.jpg,5",
        "b_left/00003.jpg,5",
        "b_left/00004.jpg,5",
        "a/00003.jpg,4",
        "a/00001.jpg,2",
        "gone/00001.jpg,7",
        "dark/00002.jpg,7",
    ]
    assert filled == FillCounts(rows=8, nearest=2, most_frequent=2, past_end=1, without_video=("gone",))
    assert filled.total == 5


def test_a_subject_with_a_video_of_no_frames_takes_the_most_frequent_label():
    text, filled = submission_text([("a", 1)], {"a": np.zeros(0, np.int8)}, default=1)
    assert text.endswith("a/00001.jpg,1\n") and filled.most_frequent == 1 and filled.without_video == ()


def test_the_written_file_passes_the_check_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "out" / "submission.txt"
    assert write_submission(path, EXAMPLE, PREDICTED, default=0).rows == 8
    assert [file.name for file in path.parent.iterdir()] == ["submission.txt"]
    validate_submission(path.read_text(), EXAMPLE, "submission")


def lines():
    return submission_text(EXAMPLE, PREDICTED, default=7)[0].splitlines()


@pytest.mark.parametrize(
    ("modify", "message"),
    [
        (lambda rows: rows[1:], "^s:1: header"),
        (lambda rows: rows[:-1], "^s: 7 rows, the example has 8"),
        (lambda rows: [*rows, "z/00001.jpg,0"], "^s: 9 rows, the example has 8"),
        (lambda rows: [*rows[:5], rows[6], rows[5], *rows[7:]], r"^s:6: row is a/00001\.jpg, the example has a/00003\.jpg"),
        (lambda rows: [*rows[:2], "b_left/00002.jpg,8", *rows[3:]], "^s:3: label is '8'"),
        (lambda rows: [*rows[:2], "b_left/00002.jpg,", *rows[3:]], "^s:3: label is ''"),
        (lambda rows: [*rows[:2], "b_left/00002.jpg,-1", *rows[3:]], "^s:3: label is '-1'"),
        (lambda rows: [*rows[:2], "b_left/2,1", *rows[3:]], "^s:3: 'b_left/2,1' is not"),
    ],
)
def test_the_check_names_the_first_line_that_is_wrong(modify, message):
    with pytest.raises(DataError, match=message):
        validate_submission("\n".join(modify(lines())) + "\n", EXAMPLE, "s")


def test_the_tool_reports_in_one_line_whether_a_file_is_valid(tmp_path):
    example, good, bad = (tmp_path / name for name in ("example.txt", "good.txt", "bad.txt"))
    example.write_text("\n".join([HEADER, *(f"{name}/{frame:05d}.jpg," for name, frame in EXAMPLE)]))
    good.write_text("\n".join(lines()))
    bad.write_text("\n".join(lines()[:-1]))

    def run(submission):
        command = [sys.executable, "-m", "tools.data.validate_submission", submission, example]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    passed, refused = run(good), run(bad)
    assert passed.returncode == 0 and "8 rows of 4 subjects" in passed.stdout
    assert (
        refused.returncode == DataError.exit_code
        and refused.stderr.strip() == f"{bad}: 7 rows, the example has 8; write exactly the rows of the example"
    )
