"""What a run says while it works: one line a step, in place on a terminal, every few seconds in a log."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

_EVERY = 5.0
"""Seconds between two lines of a log."""

console = Console(highlight=False, soft_wrap=True)


def echo(text: str) -> None:
    """Print one line for the user."""
    console.print(text, markup=False)


class Progress:
    """Counts what is done and says so with rates; totals of named figures (frames, faces) are rated too."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.sums, self.started, self.said = 0, {}, time.monotonic(), 0.0
        self.work, self.worked = 0.0, 0.0

    def expect(self, work: float) -> None:
        """Say how much work there is in all, in any unit, where units differ much: time left goes by it then."""
        self.work = work

    def step(self, count: int = 1, figures: Mapping[str, float] | None = None, *, work: float = 0.0) -> None:
        """Note that ``count`` more units are done, or so much ``work`` on them; ``figures`` are summed by name."""
        self.done += count
        self.worked += work
        for name, value in (figures or {}).items():
            self.sums[name] = self.sums.get(name, 0) + value
        now = time.monotonic()
        if console.is_terminal and now - self.said > 0.2:
            self.said = now
            _in_place(self.line())
        elif not console.is_terminal and now - max(self.said, self.started) > _EVERY:
            self.said = now
            echo(self.line())

    def reach(self, done: int, total: int) -> None:
        """Note that so many units of so many are done, where somebody else counts."""
        self.total = total
        self.step(done - self.done)

    def line(self) -> str:
        """The state in one line: done of all, rates a second, time left."""
        seconds = max(time.monotonic() - self.started, 1e-3)
        shown = {name: value for name, value in self.sums.items() if value and (name != "rows" or "frames" not in self.sums)}
        rates = [f"{self.done / seconds:.3g} {self.unit}/s"] + [f"{value / seconds:,.0f} {name}/s" for name, value in shown.items()]
        share = self.worked / self.work if self.work else self.done / max(self.total, 1)
        left = (1 - min(share, 1)) * seconds / share if share else 0
        tail = f", {_clock(left)} left" if share and self.done < self.total else ""
        return f"  {self.title}: {self.done:,} of {self.total:,} {self.unit}, {', '.join(rates)}{tail}"


def _clock(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours}:{minutes:02d}:{int(seconds) % 60:02d}" if hours else f"{minutes}:{int(seconds) % 60:02d}"


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Progress]:
    """Show the progress of one step; its last line stays."""
    shown = Progress(title, total, unit)
    try:
        yield shown
    finally:
        if console.is_terminal:
            _in_place("")
        if shown.done:
            echo(shown.line())


def _in_place(text: str) -> None:
    console.file.write(f"\r\x1b[K{text}")
    console.file.flush()


@contextmanager
def redirect_library_output(log: Path) -> Iterator[None]:
    """Keep the terminal for what ``echo`` and ``progress`` show; whatever else writes to it, C++ code too, writes into the log meanwhile.

    Args:
        log: The file; it is removed again where nobody wrote.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with open(log, "ab", buffering=0) as noise, os.fdopen(os.dup(1), "w") as terminal:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        console.file = terminal
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            console.file = None
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)
    if not log.stat().st_size:
        log.unlink()
