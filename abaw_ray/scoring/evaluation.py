"""One model's labelled frames, counted by recording: its scores with intervals, and paired differences from another model on the same frames."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from abaw_ray.scoring.bootstrap import (
    bootstrap_interval,
    bootstrap_interval_per_class,
    paired_difference,
    paired_difference_per_class,
    paired_standard_error,
)
from abaw_ray.scoring.metrics import CLASSES, macro_f1, per_class_f1, sum_by_recording

_SEED = 0
"""Of the resampling: intervals are the same in every run."""


@dataclass(frozen=True)
class Evaluation:
    """Confusion matrices of one model by recording, in the order of the recordings' names."""

    recordings: tuple[str, ...]
    counts: Int64[np.ndarray, "recordings 8 8"]

    @classmethod
    def of_subjects(cls, counts: Int64[np.ndarray, "subjects 8 8"], recordings: Sequence[str]) -> "Evaluation":
        """From one matrix per subject and the recording of each."""
        return cls(tuple(sorted(set(recordings))), sum_by_recording(counts, recordings))

    def without(self, recordings: Collection[str]) -> "Evaluation":
        """The evaluation without these recordings."""
        kept = [index for index, name in enumerate(self.recordings) if name not in recordings]
        return Evaluation(tuple(self.recordings[index] for index in kept), self.counts[kept])

    @property
    def macro_f1(self) -> float:
        """Macro-F1 of the frames of all recordings together."""
        return macro_f1(self.counts.sum(axis=0))

    def score(self) -> dict[str, Any]:
        """Macro-F1 and F1 of each class with their 95 % intervals over recordings, and the confusion matrix, as plain values."""
        total = self.counts.sum(axis=0)
        return {
            "macro_f1": self.macro_f1,
            "interval": self.interval(),
            "per_class": per_class_f1(total).tolist(),
            "per_class_intervals": self.per_class_intervals(),
            "confusion": total.tolist(),
        }

    def interval(self) -> list[float] | None:
        """95 % interval of the macro-F1 over recordings; None with fewer than two of them."""
        return list(bootstrap_interval(self.counts, seed=_SEED)) if self._can_be_resampled else None

    def per_class_intervals(self) -> list[list[float]] | None:
        """As ``interval``, of the F1 of each class: lower and upper ends."""
        return bootstrap_interval_per_class(self.counts, seed=_SEED).tolist() if self._can_be_resampled else None

    def minus(self, other: "Evaluation") -> dict[str, Any]:
        """The difference of the macro-F1 from that of another model on the same frames, and its paired interval, as plain values.

        Raises:
            ValueError: different recordings, or different numbers of annotated frames of a class in one of them.
        """
        self._check_frames(other)
        if not self._can_be_resampled:
            return {"macro_f1": self.macro_f1 - other.macro_f1, "interval": None}
        difference, *interval = paired_difference([self.counts], [other.counts], seed=_SEED)
        return {"macro_f1": difference, "interval": interval}

    def gain_in_standard_errors(self, other: "Evaluation") -> float | None:
        """The difference of the macro-F1 from that of another model on the same frames, divided by its standard error over recordings.

        None with one recording, where the error cannot be estimated; infinite where the difference is the same in every sample of the recordings.

        Raises:
            ValueError: as ``minus``.
        """
        self._check_frames(other)
        if not self._can_be_resampled:
            return None
        difference = self.macro_f1 - other.macro_f1
        if not difference:
            return 0.0
        error = paired_standard_error([self.counts], [other.counts], seed=_SEED)
        return difference / error if error else float(np.copysign(np.inf, difference))

    def minus_per_class(self, other: "Evaluation") -> dict[str, Any]:
        """As ``minus``, of the F1 of each class: ``per_class`` and ``interval``, lower and upper end of each."""
        self._check_frames(other)
        if not self._can_be_resampled:
            difference = per_class_f1(self.counts.sum(axis=0)) - per_class_f1(other.counts.sum(axis=0))
            return {"per_class": difference.tolist(), "interval": None}
        difference, intervals = paired_difference_per_class([self.counts], [other.counts], seed=_SEED)
        return {"per_class": difference.tolist(), "interval": intervals.tolist()}

    def _check_frames(self, other: "Evaluation") -> None:
        if self.recordings != other.recordings:
            raise ValueError("the evaluations have different recordings; a paired difference needs the same recordings on both sides")
        if (self.counts.sum(axis=-1) != other.counts.sum(axis=-1)).any():
            raise ValueError("a recording has different annotations in the two evaluations; a paired difference needs the same frames on both sides")

    @property
    def _can_be_resampled(self) -> bool:
        return len(self.recordings) > 1


def evaluations_table(evaluations: Mapping[str, Evaluation]) -> pa.Table:
    """One row per evaluation and recording: ``evaluation``, ``recording``, and ``counts``, the 64 cells row by row (rows are annotated classes)."""
    schema = pa.schema({"evaluation": pa.string(), "recording": pa.string(), "counts": pa.list_(pa.int64())})
    rows = [
        {"evaluation": name, "recording": recording, "counts": matrix.ravel().tolist()}
        for name, evaluation in evaluations.items()
        for recording, matrix in zip(evaluation.recordings, evaluation.counts, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def read_evaluations(table: pa.Table) -> dict[str, Evaluation]:
    """The evaluations of a table of ``evaluations_table``, by name."""
    rows: dict[str, dict[str, list[int]]] = {}
    for row in table.to_pylist():
        rows.setdefault(row["evaluation"], {})[row["recording"]] = row["counts"]
    return {
        name: Evaluation.of_subjects(np.array(list(counts.values()), np.int64).reshape(-1, CLASSES, CLASSES), list(counts))
        for name, counts in rows.items()
    }
