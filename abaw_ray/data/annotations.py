"""Annotation files of the EXPR challenge: text -> labels -> labels of the decoded frames.

Row ``i`` (from 1) belongs to frame ``i``. ``affwild2`` finds the files.
"""

import logging

import numpy as np
from jaxtyping import Int8

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS, UNLABELLED

log = logging.getLogger(__name__)

HEADER = ",".join(EXPRESSIONS)
MAX_ROW_DIFFERENCE = 2
"""Maximum difference between annotation rows and decoded frames; the 318 files have differences of -1 to +2 (``docs/data.md``)."""


def parse_annotation(text: str, where: str) -> Int8[np.ndarray, " rows"]:
    """Labels of an annotation file, one per frame; -1 where unlabelled.

    Args:
        text: A header with eight names, then one integer per line (a CSV parser fails on it: it expects eight fields).
        where: The file, for error messages.

    Raises:
        DataError: the header differs, or a line is not an integer from -1 to 7; the message has file and line.
    """
    header, *rows = text.rstrip().splitlines() or [""]
    if ",".join(field.strip() for field in header.split(",")) != HEADER:
        raise DataError(f"{where}:1: header is '{header[:120]}', not '{HEADER}'; is this an EXPR annotation?")
    try:
        labels = np.array(rows, dtype=np.int64)
    except (ValueError, OverflowError):
        labels = None
    if labels is not None and ((labels >= UNLABELLED) & (labels < len(EXPRESSIONS))).all():
        return labels.astype(np.int8)
    number, row = next((number, row) for number, row in enumerate(rows, start=2) if not _is_label(row))
    raise DataError(f"{where}:{number}: '{row[:40]}' is not a class; a line must hold one integer from {UNLABELLED} to {len(EXPRESSIONS) - 1}")


def _is_label(row: str) -> bool:
    try:
        return UNLABELLED <= int(row) < len(EXPRESSIONS)
    except ValueError:
        return False


def align_labels(labels: Int8[np.ndarray, " rows"], frames: int, name: str) -> Int8[np.ndarray, " frames"]:
    """Labels of exactly the decoded frames: row ``i`` belongs to frame ``i``; the end is truncated or padded with -1.

    Args:
        labels: One per annotation row.
        frames: Number of decoded frames.
        name: The subject, for log and error messages.

    Raises:
        DataError: rows and frames differ by more than 2.
    """
    difference = len(labels) - frames
    if abs(difference) > MAX_ROW_DIFFERENCE:
        raise DataError(
            f"{name}: {len(labels)} annotation rows for {frames} decoded frames; a difference of at most {MAX_ROW_DIFFERENCE} is accepted, "
            "check that video and annotation belong together"
        )
    if difference:
        log.info("%s: %d annotation rows, %d frames: %s", name, len(labels), frames, "rest truncated" if difference > 0 else "rest unlabelled")
    return np.pad(labels[:frames], (0, max(-difference, 0)), constant_values=UNLABELLED)
