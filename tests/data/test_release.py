import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.data.release import HEADER, parse_example, parse_names, parse_rows


def test_names_keep_suffixes_and_order():
    assert parse_names("video2_left\n\n12\r\n 9-15-1920x1080 \n", "names") == ["video2_left", "12", "9-15-1920x1080"]


@pytest.mark.parametrize(("text", "message"), [("\n", "no names"), ("a\nb\na\n", "'a' occurs twice")])
def test_a_list_of_names_without_names_or_with_one_twice_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_names(text, "names")


def test_the_header_has_nine_fields_and_a_row_two_of_which_the_second_may_be_empty():
    text = f"{HEADER}\nvideo2_left/00001.jpg,\na.b/123456.jpg,0\n"
    assert parse_rows(text, "example") == [("video2_left", 1, ""), ("a.b", 123456, "0")]
    assert parse_example(text, "example") == [("video2_left", 1), ("a.b", 123456)]


@pytest.mark.parametrize("row", ["12/00000.jpg,0", "12/00001.png,0", "12/00001.jpg", "00001.jpg,0", "12/00001.jpg,0,0"])
def test_an_invalid_row_raises_an_error_with_file_and_line(row):
    with pytest.raises(DataError, match=rf"^example:3: '{row}' is not"):
        parse_rows(f"{HEADER}\n12/00001.jpg,0\n{row}\n", "example")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Neutral,Anger\n12/00001.jpg,0\n", "^example:1: header is"),
        (f"{HEADER}\n", "no rows"),
        (f"{HEADER}\n12/00001.jpg,\n12/00001.jpg,\n", "1 rows occur twice"),
    ],
)
def test_an_invalid_example_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        parse_example(text, "example")
