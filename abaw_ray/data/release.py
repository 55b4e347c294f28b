"""Parses the test release of the challenge: the names, and the example file with the required rows of a submission.

``scoring/submission.py`` writes and validates submissions.
"""

import re
import sys

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS

HEADER = ",".join(("image_location", *EXPRESSIONS))
"""First line of the example and of a submission: nine fields, although rows have two."""
_ROW = re.compile(r"([^,/]+)/(\d+)\.jpg,([^,]*)")


def parse_names(text: str, where: str) -> list[str]:
    """Names of the subjects of a test release, one per line, with their suffixes, in file order.

    Raises:
        DataError: a name occurs twice, or there are no names.
    """
    names = [line.strip() for line in text.splitlines() if line.strip()]
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if name in seen:
            raise DataError(f"{where}: '{name}' occurs twice (again as name {number}); list every subject once")
        seen.add(name)
    if not names:
        raise DataError(f"{where}: no names; one subject per line is required")
    return names


def parse_rows(text: str, where: str) -> list[tuple[str, int, str]]:
    """Name, frame (from 1) and value of every row of an example or a submission, in the file's order.

    Raises:
        DataError: the header differs, or a row is not ``<name>/<frame>.jpg,<value>``; the message has file and line.
    """
    header, *lines = text.rstrip().splitlines() or [""]
    if ",".join(field.strip() for field in header.split(",")) != HEADER:
        raise DataError(f"{where}:1: header is '{header[:160]}', not '{HEADER}'")
    rows = []
    for number, line in enumerate(lines, start=2):
        match = _ROW.fullmatch(line.strip())
        if not match or int(match[2]) < 1:
            raise DataError(f"{where}:{number}: '{line[:80]}' is not <name>/<00001>.jpg,<class>; frames count from 1")
        rows.append((sys.intern(match[1]), int(match[2]), match[3].strip()))
    return rows


def parse_example(text: str, where: str) -> list[tuple[str, int]]:
    """Name and frame of every required row of a submission; the values of the example are ignored.

    Raises:
        DataError: as in ``parse_rows``, or no row, or a duplicate row.
    """
    rows = [(name, frame) for name, frame, _ in parse_rows(text, where)]
    if not rows:
        raise DataError(f"{where}: no rows below the header; is this the example file of the test release?")
    if len(set(rows)) != len(rows):
        raise DataError(f"{where}: {len(rows) - len(set(rows))} rows occur twice; list every frame once")
    return rows
