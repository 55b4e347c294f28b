"""Progress of a run for the user: one line for each step, updated in place on a terminal and every few seconds in a log."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, cast

from rich.console import Console

_LOG_INTERVAL = 5.0
"""Seconds between two lines of a log."""
_RATES = ("frames", "faces", "rows")
"""The counts whose rates are shown; rows only where no frames are counted."""
EchoTarget = Literal["stdout", "stderr", "nothing"]
"""Where ``echo`` and ``progress`` write."""

console = Console(highlight=False, soft_wrap=True, emoji=False)


def echo(text: str) -> None:
    """Print one line for the user."""
    console.print(text, markup=False)


class Progress:
    """Counts completed units and prints them with their rate, and with the rates of frames and faces where these are counted."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.sums, self.started, self.printed, self.printed_done = 0, {}, time.monotonic(), 0.0, -1
        self.total_work, self.work_done = 0.0, 0.0

    def set_total_work(self, work: float) -> None:
        """Set the total work, in any unit. The remaining time is then estimated from ``work``, because units may differ in cost."""
        self.total_work = work

    def step(self, count: int = 1, figures: Mapping[str, float] | None = None, *, work: float = 0.0) -> None:
        """Add ``count`` completed units and ``work`` done on them; ``figures``, counts by name, are summed."""
        self.done += count
        self.work_done += work
        for name, value in (figures or {}).items():
            self.sums[name] = self.sums.get(name, 0) + value
        now = time.monotonic()
        if console.is_terminal and now - self.printed > 0.2:
            self.printed = now
            _in_place(self.line())
        elif not console.is_terminal and now - max(self.printed, self.started) > _LOG_INTERVAL:
            self.printed, self.printed_done = now, self.done
            echo(self.line())

    def set_done(self, done: int, total: int) -> None:
        """Set the completed units and their total, for a caller that counts them itself."""
        self.total = total
        self.step(done - self.done)

    def line(self) -> str:
        """One line: completed units of the total, rates per second, remaining time."""
        seconds = max(time.monotonic() - self.started, 1e-3)
        counts = {name: self.sums[name] for name in _RATES if self.sums.get(name) and (name != "rows" or "frames" not in self.sums)}
        rates = [f"{self.done / seconds:.3g} {self.unit}/s"] if self.total > 1 else []  # of a single unit a rate says nothing
        rates += [f"{value / seconds:,.0f} {name}/s" for name, value in counts.items()]
        fraction = self.work_done / self.total_work if self.total_work else self.done / max(self.total, 1)
        remaining = (1 - min(fraction, 1)) * seconds / fraction if fraction else 0
        tail = f", {clock_text(remaining)} left" if fraction and self.done < self.total else ""
        return f"  {self.title}: {', '.join([f'{self.done:,} of {self.total:,} {self.unit}', *rates])}{tail}"


def clock_text(seconds: float) -> str:
    """A duration as a clock shows it: ``1:23:45``, ``3:45``."""
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours}:{minutes:02d}:{int(seconds) % 60:02d}" if hours else f"{minutes}:{int(seconds) % 60:02d}"


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Progress]:
    """Show the progress of one step; the last line stays on the screen."""
    shown = Progress(title, total, unit)
    try:
        yield shown
    finally:
        if console.is_terminal:
            _in_place("")
        if shown.done and shown.done != shown.printed_done:
            echo(shown.line())


def _in_place(text: str) -> None:
    console.file.write(f"\r\x1b[K{text}")
    console.file.flush()


@contextmanager
def redirect_library_output(log: Path, echo_to: EchoTarget = "stdout", *, copy_lines: bool = False) -> Iterator[None]:
    """Redirect stdout and stderr, also of C++ code, to a log file; ``echo`` and ``progress`` still write to the terminal.

    Args:
        log: The file; it is deleted at the end if it is empty, and its folder if that is empty then.
        echo_to: Where ``echo`` and ``progress`` write.
        copy_lines: Whether the log has their lines too.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    try:
        with open(log, "ab", buffering=0) as log_file, _open_target(echo_to) as terminal:
            os.dup2(log_file.fileno(), 1)
            os.dup2(log_file.fileno(), 2)
            console.file = cast(IO[str], _CopiedLines(terminal, log_file)) if copy_lines else terminal
            yield
    finally:
        for descriptor, stream in enumerate((sys.stdout, sys.stderr), start=1):
            _flush(stream, descriptor)
        console.file = None  # pyright: ignore[reportAttributeAccessIssue] (None is the default; rich annotates the setter with IO only)
        for descriptor, duplicate in enumerate(saved, start=1):
            os.dup2(duplicate, descriptor)
            os.close(duplicate)
        _remove_if_empty(log)


def _flush(stream: IO[str], descriptor: int) -> None:
    """Write what the stream holds to the log; drop it where the disk is full, so that it does not reach the terminal later."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing, suppress(OSError):
            os.dup2(nothing.fileno(), descriptor)
            stream.flush()


class _CopiedLines:
    """A stream for lines that writes them to a log too, except those that a terminal replaces in place."""

    def __init__(self, terminal: IO[str], log: IO[bytes]) -> None:
        self._terminal, self._log = terminal, log

    def write(self, text: str) -> int:
        """Write to both."""
        if not text.startswith("\r"):
            with suppress(OSError):  # a full disk takes no log, but the terminal and the work go on
                self._log.write(text.encode(errors="backslashreplace"))
        return self._terminal.write(text)

    def __getattr__(self, name: str) -> Any:
        """All else is that of the terminal."""
        return getattr(self._terminal, name)


def _open_target(target: EchoTarget) -> IO[str]:
    """The stream as it is now; a file name with bytes that are no text is written with escapes."""
    if target == "nothing":
        return open(os.devnull, "w")
    return os.fdopen(os.dup(1 if target == "stdout" else 2), "w", errors="backslashreplace")


def _remove_if_empty(log: Path) -> None:
    """Delete an empty log, and its folder if no other log is in it."""
    if not log.stat().st_size:
        log.unlink()
        with suppress(OSError):
            log.parent.rmdir()
