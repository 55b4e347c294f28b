"""What a run says while it works: one line a step, in place on a terminal, every few seconds in a log."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console

_EVERY = 5.0
"""Seconds between two lines of a log."""

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line for the user."""
    console.print(text, markup=False)


class Progress:
    """Counts what is done and says so with rates; totals of named figures (frames, faces) are rated too."""

    def __init__(self, title: str, total: int, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.sums, self.started, self.said = 0, {}, time.monotonic(), 0.0

    def step(self, count: int = 1, figures: Mapping[str, float] | None = None) -> None:
        """Note that ``count`` more units are done; ``figures`` are summed by name."""
        self.done += count
        for name, value in (figures or {}).items():
            self.sums[name] = self.sums.get(name, 0) + value
        now = time.monotonic()
        if console.is_terminal and now - self.said > 0.2:
            self.said = now
            sys.stdout.write(f"\r\x1b[K{self.line()}")
            sys.stdout.flush()
        elif not console.is_terminal and now - max(self.said, self.started) > _EVERY:
            self.said = now
            say(self.line())

    def line(self) -> str:
        """The state in one line: done of all, rates a second, time left."""
        seconds = max(time.monotonic() - self.started, 1e-3)
        rates = [f"{self.done / seconds:.3g} {self.unit}/s"] + [f"{value / seconds:,.0f} {name}/s" for name, value in self.sums.items()]
        left = (self.total - self.done) * seconds / self.done if self.done else 0
        tail = f", {int(left // 60)}:{int(left % 60):02d} left" if 0 < self.done < self.total else ""
        return f"  {self.title}: {self.done:,} of {self.total:,} {self.unit}, {', '.join(rates)}{tail}"


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Progress]:
    """Show the progress of one step; its last line stays."""
    shown = Progress(title, total, unit)
    try:
        yield shown
    finally:
        if console.is_terminal:
            sys.stdout.write("\r\x1b[K")
        if shown.done:
            say(shown.line())
