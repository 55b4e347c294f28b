"""Subjects -> folds that share no recording and have like shares of every expression.

The two people of a video and the parts of one recording stay together (``subjects.recording_of``); which folds train what is said in
``fusion/protocols.py``.
"""

import warnings
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int
from sklearn.model_selection import StratifiedGroupKFold

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.core.expressions import EXPRESSIONS
from abaw_ray.data.subjects import recording_of

_ROWS = 50_000
"""Rows that the stratification sees at most (about): 2.6 million frames hold no more than their counts a subject."""


def assign_folds(labels_by_name: Mapping[str, Int[np.ndarray, " frames"]], *, folds: int = 5, seed: int) -> dict[str, int]:
    """The fold, 0 to ``folds`` - 1, in which each subject is held out.

    Every subject stands for its labelled frames, thinned class by class to about 50,000 rows in all (rounded up, so a rare expression
    never vanishes); a subject that nobody labelled is one row of a ninth class. The same names, labels and seed give the same folds in
    whatever order they come.

    Args:
        labels_by_name: Labels of each subject's frames, -1 where nobody labelled.
        folds: How many.
        seed: Decides between recordings of like weight only: the folds of real data are nearly the same for every seed.

    Raises:
        ConfigError: fewer than two folds, or fewer sources than folds.
        DataError: no expression has as many labelled frames as there are folds.

    Source: scikit-learn's ``StratifiedGroupKFold``; grouping after ``DATA.md`` section 1, thinning ours.
    """
    names = sorted(labels_by_name)
    sources = sorted({recording_of(name) for name in names})
    if folds < 2 or len(sources) < folds:
        raise ConfigError(f"folds={folds} with {len(sources)} recordings; wanted are at least 2 folds and a recording for each")
    counts = np.array([np.bincount(labels_by_name[name] + 1, minlength=len(EXPRESSIONS) + 1)[1:] for name in names])
    if counts.sum(axis=0).max() < folds:
        raise DataError(f"{len(names)} subjects: no expression has {folds} labelled frames; folds cannot be made of them")
    step = max(1, counts.sum() // _ROWS)
    rows = np.concatenate([-(-counts // step), counts.sum(axis=1, keepdims=True) == 0], axis=1)
    subject, label = np.repeat(np.indices(rows.shape).reshape(2, -1), rows.ravel(), axis=1)
    groups = np.array([sources.index(recording_of(name)) for name in names])[subject]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # the subjects without a label
        parts = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(subject, label, groups))
    return {names[index]: fold for fold, (_, held_out) in enumerate(parts) for index in np.unique(subject[held_out])}
