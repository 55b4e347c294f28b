import logging

import numpy as np
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.data.annotations import HEADER, align_labels, parse_annotation


def test_the_header_has_eight_names_and_each_row_one_label():
    labels = parse_annotation(f"{HEADER}\r\n0\r\n7\r\n-1\r\n3\r\n\r\n", "x.txt")
    assert labels.dtype == np.int8
    assert labels.tolist() == [0, 7, -1, 3]


def test_a_file_with_the_header_alone_has_no_labels():
    assert len(parse_annotation(HEADER, "x.txt")) == 0


@pytest.mark.parametrize("row", ["8", "-2", "1.0", "0,1", "", "Anger", "99999999999999999999"])
def test_an_invalid_label_raises_an_error_with_file_and_line(row):
    with pytest.raises(DataError, match=rf"^x\.txt:4: '{row}' is not a class"):
        parse_annotation(f"{HEADER}\n0\n1\n{row}\n2\n", "x.txt")


@pytest.mark.parametrize("text", ["", "0\n1\n", "valence,arousal\n0.1,0.2\n", HEADER.replace("Anger,Disgust", "Disgust,Anger")])
def test_another_header_is_refused(text):
    with pytest.raises(DataError, match=r"^x\.txt:1: header is"):
        parse_annotation(text, "x.txt")


@pytest.mark.parametrize(
    ("rows", "frames", "kept"),
    [(5, 5, [0, 1, 2, 3, 4]), (5, 4, [0, 1, 2, 3]), (5, 3, [0, 1, 2]), (5, 6, [0, 1, 2, 3, 4, -1]), (5, 7, [0, 1, 2, 3, 4, -1, -1])],
)
def test_row_i_belongs_to_frame_i_and_the_end_is_truncated_or_unlabelled(rows, frames, kept, caplog):
    caplog.set_level(logging.INFO)
    assert align_labels(np.arange(rows, dtype=np.int8), frames, "12").tolist() == kept
    assert bool(caplog.messages) == (rows != frames)


@pytest.mark.parametrize("frames", [2, 8])
def test_a_difference_of_more_than_two_rows_is_an_error_that_names_both_counts(frames):
    with pytest.raises(DataError, match=f"^12: 5 annotation rows for {frames} decoded frames"):
        align_labels(np.zeros(5, np.int8), frames, "12")
