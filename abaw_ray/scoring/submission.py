"""Labels of every subject -> the submission file of the challenge, and validation of such a file.

The file has every row of the example, in its order. Rows without a predicted label are filled by fixed rules and counted.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from abaw_ray.core.errors import DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.release import HEADER, parse_rows
from abaw_ray.scoring.fill import NO_LABEL, fill_labels

LabelsByName = Mapping[str, Int[np.ndarray, " _"]]
"""Labels of each subject's decoded frames, by the subject's name."""


@dataclass(frozen=True, kw_only=True)
class FillCounts:
    """Number of submission rows without a score, by the rule that filled their label."""

    rows: int
    """All rows."""
    nearest: int
    """Rows without face and audio: they take the label of the subject's nearest scored frame."""
    most_frequent: int
    """Rows of subjects without any scored frame: they take the most frequent label of the training set."""
    past_end: int
    """Rows after the last decoded frame: they take the last frame's label."""
    without_video: tuple[str, ...]
    """Subjects of the example without any prediction; ``most_frequent`` includes their rows."""

    @property
    def total(self) -> int:
        """All filled rows."""
        return self.nearest + self.most_frequent + self.past_end


def submission_text(example: Sequence[tuple[str, int]], predicted: LabelsByName, *, default: int) -> tuple[str, FillCounts]:
    """The text of the submission file, and how many rows each rule filled.

    Args:
        example: Subject's name and frame number (from 1) of the required rows, in order.
        predicted: Labels 0..7 of each subject's decoded frames, frame 1 first; -1 where a frame has neither face nor audio.
        default: Most frequent label of the training set.
    """
    without = tuple(sorted({name for name, _ in example} - predicted.keys()))
    decoded = {name: labels for name, labels in predicted.items() if len(labels)}
    filled = {name: fill_labels(labels, default).tolist() for name, labels in decoded.items()}
    scored = {name: (labels != NO_LABEL).tolist() for name, labels in decoded.items()}
    unscored = {name for name, flags in scored.items() if not any(flags)}
    lines, nearest, frequent, past = [HEADER], 0, 0, 0
    for name, frame in example:
        labels = filled.get(name)
        label = labels[min(frame, len(labels)) - 1] if labels else default
        if labels is None or name in unscored:
            frequent += 1
        elif frame > len(labels):
            past += 1
        elif not scored[name][frame - 1]:
            nearest += 1
        lines.append(f"{name}/{frame:05d}.jpg,{label}")
    counts = FillCounts(rows=len(example), nearest=nearest, most_frequent=frequent, past_end=past, without_video=without)
    return "\n".join(lines) + "\n", counts


def write_submission(path: Path, example: Sequence[tuple[str, int]], predicted: LabelsByName, *, default: int) -> FillCounts:
    """Write the file atomically and validate it; arguments and result as in ``submission_text``."""
    text, counts = submission_text(example, predicted, default=default)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
    validate_submission(path.read_text(encoding="utf-8"), example, str(path))
    return counts


def validate_submission(text: str, example: Sequence[tuple[str, int]], where: str) -> None:
    """Check the header, every row, their order and number, and the range of the labels.

    Args:
        text: The submission.
        example: The required rows, in order.
        where: The file, for error messages.

    Raises:
        DataError: the first violation, with file and line.
    """
    rows = parse_rows(text, where)
    classes = {str(number) for number in range(len(EXPRESSIONS))}
    for number, (row, wanted) in enumerate(zip(rows, example, strict=False), start=2):
        if row[:2] != wanted:
            raise DataError(
                f"{where}:{number}: row is {row[0]}/{row[1]:05d}.jpg, the example has {wanted[0]}/{wanted[1]:05d}.jpg there; keep its order"
            )
        if row[2] not in classes:
            raise DataError(f"{where}:{number}: label is '{row[2]}', not 0..{len(EXPRESSIONS) - 1}")
    if len(rows) != len(example):
        raise DataError(f"{where}: {len(rows)} rows, the example has {len(example)}; write exactly the rows of the example")
