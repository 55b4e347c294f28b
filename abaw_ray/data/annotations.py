"""Annotation files of the EXPR challenge: text to labels, and labels to the frames that the decoder gave.

Row ``i`` (from 1) is frame ``i``. Where the files lie is ``affwild2``'s business.
"""

import logging

import numpy as np
from jaxtyping import Int8

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS, UNLABELLED

log = logging.getLogger(__name__)

HEADER = ",".join(EXPRESSIONS)
MAX_DIFFERENCE = 2
"""Frames by which annotation rows and decoded frames may differ: +2 to -1 are seen in the 318 files (``DATA.md``), never more."""


def parse_annotation(text: str, where: str) -> Int8[np.ndarray, " rows"]:
    """The labels of an annotation file, one a frame; -1 where nobody labelled.

    Args:
        text: The header with eight names, then one integer a line (a table reader wants eight, and fails).
        where: The file, for messages.

    Raises:
        DataError: the header is another one, or a line is no integer from -1 to 7; the message says file and line.
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
    raise DataError(f"{where}:{number}: '{row[:40]}' is no class; a line holds one integer from {UNLABELLED} to {len(EXPRESSIONS) - 1}")


def _is_label(row: str) -> bool:
    try:
        return UNLABELLED <= int(row) < len(EXPRESSIONS)
    except ValueError:
        return False


def match_labels(labels: Int8[np.ndarray, " rows"], frames: int, name: str) -> Int8[np.ndarray, " frames"]:
    """The labels of exactly the decoded frames: row ``i`` stays frame ``i``, the end is cut or filled with -1.

    Args:
        labels: One an annotation row.
        frames: How many frames the decoder gave.
        name: The subject, for the log and messages.

    Raises:
        DataError: rows and frames differ by more than 2.
    """
    difference = len(labels) - frames
    if abs(difference) > MAX_DIFFERENCE:
        raise DataError(
            f"{name}: {len(labels)} annotation rows for {frames} decoded frames; a difference of at most {MAX_DIFFERENCE} is accepted, "
            "so check that video and annotation belong together"
        )
    if difference:
        log.info("%s: %d annotation rows, %d frames: %s", name, len(labels), frames, "rest cut" if difference > 0 else "rest unlabelled")
    return np.pad(labels[:frames], (0, max(-difference, 0)), constant_values=UNLABELLED)
