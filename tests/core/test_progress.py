import os

import pytest

from abaw_ray.core.progress import Progress, echo, progress, redirect_library_output


def test_the_line_has_the_rates_of_frames_and_faces_and_of_no_other_count():
    shown = Progress("analysis", 4, "videos")
    shown.step(2, {"rows": 40, "people": 3, "frames": 5000, "faces": 2000})
    line = shown.line()
    assert line.startswith("  analysis: 2 of 4 videos, ") and " videos/s, " in line and " frames/s, " in line and " faces/s, " in line
    assert "people" not in line and "rows" not in line


def test_of_a_single_unit_no_rate_is_shown():
    shown = Progress("analysis", 1, "videos")
    shown.step()
    assert shown.line() == "  analysis: 1 of 1 videos"


def test_rows_are_shown_where_no_frames_are_counted():
    shown = Progress("features", 2, "videos")
    shown.step(1, {"rows": 4000, "seen": 1, "heard": 1})
    assert " rows/s" in shown.line() and "seen" not in shown.line()


def test_the_last_line_is_printed_once(capfd, monkeypatch):
    monkeypatch.setattr("abaw_ray.core.progress._LOG_INTERVAL", -1.0)
    with progress("analysis", 2, "videos") as shown:
        shown.step()
        shown.step()
    assert [line.partition(" videos")[0] for line in capfd.readouterr().out.splitlines()] == ["  analysis: 1 of 2", "  analysis: 2 of 2"]


@pytest.mark.parametrize(("target", "out", "err"), [("stdout", "for the user\n", ""), ("stderr", "", "for the user\n"), ("nothing", "", "")])
def test_lines_for_the_user_go_to_the_chosen_stream_and_those_of_libraries_to_the_log(target, out, err, tmp_path, capfd):
    with redirect_library_output(tmp_path / "logs/some.log", target):
        os.write(1, b"from a library\n")
        os.write(2, b"an error\n")
        echo("for the user")
    assert capfd.readouterr() == (out, err)
    assert (tmp_path / "logs/some.log").read_text() == "from a library\nan error\n"


def test_a_file_name_is_printed_as_it_is(tmp_path, capfd):
    with redirect_library_output(tmp_path / "some.log"):
        echo("[red]:100: \udcff.mp4")
    assert capfd.readouterr().out == "[red]:100: \\udcff.mp4\n"
