"""The result of one check of this machine, and the text of several."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "note", "problem"]
"""``problem``: analysis cannot run; ``note``: it runs, but slower, or needs the network first."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check."""

    name: str
    status: Status = "ok"
    found: str
    """What was found, for the user."""
    remedy: str = ""
    """What to do; for every problem."""
    values: dict[str, Any] = field(default_factory=dict)
    """The same as numbers and names, for programs."""

    def lines(self, width: int) -> list[str]:
        """The check in lines of at most this width; the name has ten columns, the status eight."""
        text = textwrap.wrap(self.found, width - 20, break_long_words=False, break_on_hyphens=False)
        text += textwrap.wrap(self.remedy, width - 20, initial_indent="-> ", subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)
        heads = [f"{self.status:8}{self.name:12}", *[" " * 20] * len(text)]
        return [head + line for head, line in zip(heads, text, strict=False)]


def conclusion(checks: Sequence[Check]) -> tuple[bool, str]:
    """Whether analysis can run, and that in one line."""
    problems, notes = ([check for check in checks if check.status == status] for status in ("problem", "note"))
    noted = f", {len(notes)} note{'s' if len(notes) > 1 else ''}" if notes else ""
    if not problems:
        return True, f"analysis can run here{noted}"
    reasons = "; ".join(f"{check.name}: {check.found}" for check in problems)
    return False, f"analysis cannot run here, {len(problems)} problem{'s' if len(problems) > 1 else ''}{noted}: {reasons}"
