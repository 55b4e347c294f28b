"""Cross-validation folds: grouped by recording, stratified by expression.

The two subjects of a video and the parts of one recording share a fold (``subjects.recording_of``). ``fusion/evaluation/protocols.py`` uses the
folds.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.expressions import EXPRESSIONS, class_counts
from abaw_ray.data.subjects import recording_of

_MAX_ROWS = 50_000
"""Approximate maximum number of rows for the stratification, which depends only on the class counts per subject."""


def assign_folds(labels_by_name: Mapping[str, Int[np.ndarray, " frames"]], *, folds: int = 5, seed: int, repeat: int = 0) -> dict[str, int]:
    """Subject's name -> the fold, 0 to ``folds`` - 1, in which the subject is held out.

    Each subject contributes its labelled frames, subsampled per class to about 50,000 rows in all (rounded up, so rare expressions remain);
    an unlabelled subject contributes one row of a ninth class. The result does not depend on the order of the subjects.

    Args:
        labels_by_name: Labels of each subject's frames, -1 where unlabelled.
        folds: Number of folds.
        seed: Only breaks ties between recordings of similar class counts: the folds of real data are nearly the same for every seed.
        repeat: 0 for the folds; another number for another assignment, for which the class counts of each recording are multiplied by a random
            factor from 1/2 to 2 (logarithmically uniform), so that the order of the assignment changes. Its folds are a little less balanced.

    Raises:
        ConfigError: fewer than two folds, or fewer recordings than folds.
        DataError: no expression has as many labelled frames as there are folds.

    Source: scikit-learn's ``StratifiedGroupKFold``; grouping as in ``docs/data.md``, section 1; subsampling and ``repeat`` ours.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # only here: the import takes a second, and most workers need no folds

    names = sorted(labels_by_name)
    recordings = sorted({recording_of(name) for name in names})
    if folds < 2 or len(recordings) < folds:
        raise ConfigError(f"folds={folds} with {len(recordings)} recordings; at least 2 folds and one recording per fold are required")
    counts = np.array([np.bincount(labels_by_name[name] + 1, minlength=len(EXPRESSIONS) + 1)[1:] for name in names])
    if counts.sum(axis=0).max() < folds:
        raise DataError(f"{len(names)} subjects: no expression has {folds} labelled frames; label more frames or use fewer folds")
    group_of = np.array([recordings.index(recording_of(name)) for name in names])
    if repeat:
        factors = 2 ** np.random.default_rng([seed, repeat]).uniform(-1, 1, size=len(recordings))
        counts = np.ceil(counts * factors[group_of, None]).astype(np.int64)
    step = max(1, counts.sum() // _MAX_ROWS)
    rows = np.concatenate([-(-counts // step), counts.sum(axis=1, keepdims=True) == 0], axis=1)
    subject, label = np.repeat(np.indices(rows.shape).reshape(2, -1), rows.ravel(), axis=1)
    groups = group_of[subject]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # the class of unlabelled subjects
        splits = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(subject, label, groups))
    return {names[index]: fold for fold, (_, held_out) in enumerate(splits) for index in np.unique(subject[held_out])}


@dataclass(frozen=True, kw_only=True)
class FoldCounts:
    """What a fold holds out."""

    fold: int
    subjects: int
    recordings: int
    frames: tuple[int, ...]
    """Labelled frames of each class."""


def count_folds(labels_by_name: Mapping[str, Int[np.ndarray, " frames"]], folds: Mapping[str, int]) -> list[FoldCounts]:
    """Subjects, recordings and labelled frames of each class that every fold holds out, ascending."""
    counts = []
    for number in sorted(set(folds.values())):
        names = [name for name, fold in folds.items() if fold == number]
        labels = np.concatenate([labels_by_name[name] for name in names])
        counts.append(
            FoldCounts(
                fold=number,
                subjects=len(names),
                recordings=len({recording_of(name) for name in names}),
                frames=tuple(class_counts(labels, len(EXPRESSIONS)).astype(int).tolist()),
            )
        )
    return counts
