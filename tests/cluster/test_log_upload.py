"""The log of a command is copied to its storage while it runs, and at its end with the error."""

import os
import time

import pytest

from abaw_ray.cluster.launch.run_records.log_upload import log_uploaded
from abaw_ray.core.errors import DataError
from abaw_ray.core.progress import echo, redirect_library_output
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "bucket"), attempts=1))


def copied(storage):
    return storage.read_bytes("logs/some.log").decode() if storage.exists("logs/some.log") else ""


def test_the_copy_grows_while_the_command_runs(storage, tmp_path):
    log = tmp_path / "some.log"
    log.write_text("first\n")
    with log_uploaded(storage, log, interval_s=0.05):
        for line in ("second\n", "third\n"):
            with log.open("a") as file:
                file.write(line)
            deadline = time.monotonic() + 10
            while not copied(storage).endswith(line):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        log.write_text("all\n")
    assert copied(storage) == "all\n"


@pytest.mark.parametrize(("error", "text"), [(DataError("clip.mp4: no video"), "error: clip.mp4: no video\n"), (ValueError("x"), "ValueError: x\n")])
def test_the_error_that_ends_the_command_is_in_the_copy(storage, tmp_path, error, text):
    log = tmp_path / "some.log"
    log.write_text("first\n")
    with pytest.raises(type(error)), log_uploaded(storage, log):
        raise error
    assert copied(storage).startswith("first\n") and copied(storage).endswith(text)


def test_a_storage_that_cannot_be_written_does_not_disturb_the_command(tmp_path):
    (tmp_path / "file").write_text("")
    log = tmp_path / "some.log"
    log.write_text("first\n")
    with log_uploaded(Storage(StorageConfig(uri=str(tmp_path / "file" / "bucket"), attempts=1)), log):
        pass
    assert log.read_text() == "first\n"


def test_the_log_has_the_lines_for_the_user_if_it_is_copied(tmp_path, capfd):
    for copy_lines, wanted in ((True, "a line\nof a library\n"), (False, "of a library\n")):
        log = tmp_path / f"{copy_lines}.log"
        with redirect_library_output(log, copy_lines=copy_lines):
            echo("a line")
            os.write(1, b"of a library\n")
        assert log.read_text() == wanted
        assert capfd.readouterr().out == "a line\n"
