"""Tables of plain text for terminals and logs."""

from collections.abc import Sequence


def text_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with their cells below each other; no line is wrapped, because a log has no width.

    Args:
        rows: All of the same length.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
