"""Labels a subject -> the text file that the challenge wants, and a check of such a file.

Every row of the example is answered, in its order. Rows that have no label of their own are filled by rule and counted; nothing is left out.
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
from abaw_ray.scoring.filling import NONE, fill_labels


@dataclass(frozen=True, kw_only=True)
class Filled:
    """How many rows of a submission have no score of their own, by the rule that gave them a label."""

    rows: int
    """All rows."""
    nearest: int
    """Neither face nor voice: label of the subject's nearest scored frame."""
    most_frequent: int
    """No scored frame at all: most frequent label of training."""
    past_end: int
    """Past the last decoded frame: the last frame's label."""
    without_video: tuple[str, ...]
    """Subjects of the example for which there is no prediction; their rows are among ``most_frequent``."""

    @property
    def total(self) -> int:
        """All filled rows."""
        return self.nearest + self.most_frequent + self.past_end


def submission_text(example: Sequence[tuple[str, int]], predicted: Mapping[str, Int[np.ndarray, " frames"]], *, default: int) -> tuple[str, Filled]:
    """The whole file.

    Args:
        example: Name and frame (from 1) of the rows wanted, in order.
        predicted: Labels 0..7 of each subject's decoded frames, frame 1 first; -1 where there is neither face nor voice.
        default: Most frequent label of training.

    Returns:
        The text, and how many rows were filled by which rule.
    """
    without = tuple(sorted({name for name, _ in example} - predicted.keys()))
    known = {name: labels for name, labels in predicted.items() if len(labels)}
    filled = {name: fill_labels(labels, default).tolist() for name, labels in known.items()}
    own = {name: (labels != NONE).tolist() for name, labels in known.items()}
    bare = {name for name, flags in own.items() if not any(flags)}
    lines, nearest, frequent, past = [HEADER], 0, 0, 0
    for name, frame in example:
        labels = filled.get(name)
        label = labels[min(frame, len(labels)) - 1] if labels else default
        if labels is None or name in bare:
            frequent += 1
        elif frame > len(labels):
            past += 1
        elif not own[name][frame - 1]:
            nearest += 1
        lines.append(f"{name}/{frame:05d}.jpg,{label}")
    counts = Filled(rows=len(example), nearest=nearest, most_frequent=frequent, past_end=past, without_video=without)
    return "\n".join(lines) + "\n", counts


def write_submission(path: Path, example: Sequence[tuple[str, int]], predicted: Mapping[str, Int[np.ndarray, " frames"]], *, default: int) -> Filled:
    """Write the file, all at once, and check it as the organisers would; arguments and result as of ``submission_text``."""
    text, counts = submission_text(example, predicted, default=default)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
    validate_submission(path.read_text(encoding="utf-8"), example, str(path))
    return counts


def validate_submission(text: str, example: Sequence[tuple[str, int]], where: str) -> None:
    """Check header, every row, their order, their number, and the range of the labels.

    Args:
        text: The submission.
        example: The rows wanted, in order.
        where: The file, for messages.

    Raises:
        DataError: the first thing that is wrong, with file and line.
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
        raise DataError(f"{where}: {len(rows)} rows, the example has {len(example)}; answer every row of it and no other")
