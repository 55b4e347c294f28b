"""Reports of the ranks: from Ray's controller on the driver's node, through a file, to the driver."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray.train import UserCallback

_POLL_S = 0.2
"""Seconds between two reads of the reports."""


class ReportWriter(UserCallback):
    """Runs in Ray's controller on the driver's node: appends the ranks' reports to a file that the driver reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_report(self, run_context: Any, metrics: list[dict], checkpoint: Any) -> None:
        """Append the report of rank 0, which equals that of every rank, and whether it has a checkpoint."""
        with self.path.open("a") as file:
            file.write(json.dumps({"report": metrics[0], "has_checkpoint": checkpoint is not None}) + "\n")


def count_checkpoints(path: Path) -> int:
    """Number of reports with a checkpoint in the file."""
    lines, _ = _read(path, 0)
    return sum(line["has_checkpoint"] for line in lines)


@contextmanager
def forward_reports(path: Path, on_report: Callable[[dict], None] | None) -> Iterator[None]:
    """Call ``on_report`` for each report that is appended to the file while the block runs."""
    if on_report is None:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_read_reports, args=(path, on_report, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=10)


def _read_reports(path: Path, on_report: Callable[[dict], None], stop: threading.Event) -> None:
    offset = 0
    while True:
        last_read = stop.wait(_POLL_S)
        lines, offset = _read(path, offset)
        for line in lines:
            on_report(line["report"])
        if last_read:
            return


def _read(path: Path, offset: int) -> tuple[list[dict], int]:
    """The complete lines of the file from this offset, in bytes, and the offset after them."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        complete, newline, _ = file.read().rpartition(b"\n")
    return [json.loads(line) for line in complete.splitlines()], offset + len(complete) + len(newline)
