"""A full disk ends the work that needs it with one line that names the machine, and disturbs nothing else."""

import errno
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
from timeouts import TIMEOUT_S

from abaw_ray.cluster.launch.run_records.log_upload import log_uploaded
from abaw_ray.cluster.stages.stage_two import predictions, trials
from abaw_ray.core.errors import DataError, StorageError
from abaw_ray.core.progress import echo, redirect_library_output
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.fusion.config import SweepConfig


def fail(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_predictions_and_trials_name_the_machine(monkeypatch, tmp_path):
    line = rf"^{platform.node()}: .*No space left on device; the disk is full: free space there"
    monkeypatch.setattr(predictions, "score_validation", fail)
    with pytest.raises(StorageError, match=line):
        predictions.score(SimpleNamespace(encoders=None), SimpleNamespace())
    monkeypatch.setattr(trials.search, "run_population", fail)
    sweep = SimpleNamespace(
        store=SimpleNamespace(storage=Storage(StorageConfig(uri=str(tmp_path)))), train_folds={}, config=SweepConfig(), default=0, threads=1
    )
    with pytest.raises(StorageError, match=line):
        trials.run_trial(sweep, None, "fused", [], "trial.json")


def test_lines_are_on_the_terminal_although_the_log_cannot_be_written(tmp_path, capfd):
    (tmp_path / "some.log").symlink_to("/dev/full")
    with redirect_library_output(tmp_path / "some.log", copy_lines=True):
        echo("one line")
    assert "one line" in capfd.readouterr().out


def test_what_libraries_have_written_to_a_full_disk_is_dropped_and_the_error_of_the_command_is_shown(tmp_path):
    (tmp_path / "some.log").symlink_to("/dev/full")
    script = f"""
from pathlib import Path
from abaw_ray.core.progress import redirect_library_output
try:
    with redirect_library_output(Path({str(tmp_path / "some.log")!r})):
        print("from a library")
        raise ValueError("the error")
except ValueError as error:
    print(error)
"""
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run([sys.executable, "-c", script], env=buffered, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    assert done.stdout == "the error\n"


def test_the_error_that_ended_a_command_counts_although_the_log_cannot_be_written(tmp_path):
    storage = Storage(StorageConfig(uri=str(tmp_path / "bucket"), attempts=1))
    with pytest.raises(DataError, match="no rows"), log_uploaded(storage, tmp_path / "no folder" / "some.log"):
        raise DataError("x.parquet: no rows")
