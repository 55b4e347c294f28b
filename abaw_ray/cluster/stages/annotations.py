"""Annotations of the user's Aff-Wild2 tree, and the features of its subjects, joined into one ``Frames`` in the cluster's shared memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.stages.sources import affwild2, data_of
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.records import Record
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.folds import assign_folds
from abaw_ray.data.subjects import Split
from abaw_ray.fusion.frames import Frames, join_frames


@dataclass(frozen=True, kw_only=True)
class AnnotationSet:
    """Subjects of the data set and their annotations; small enough for the driver."""

    splits: dict[str, Split]
    """Split by subject's name."""
    labels: dict[str, np.ndarray]
    """Labels by subject's name, one per annotation row; subjects of the test release have none."""
    example: list[tuple[str, int]]
    """Subject and frame number of each row of the submission; empty without a test release."""

    @property
    def identity(self) -> str:
        """Digest of all labels and splits."""
        rows = {name: digest(labels.tolist()) for name, labels in self.labels.items()}
        return digest([self.splits, rows, self.example])


@once_per_run
def annotated(run: Run[Any]) -> AnnotationSet:
    """Read the annotations of the user's Aff-Wild2 tree.

    Raises:
        ConfigError: no tree is given, or videos without annotations are: training and scoring need labels.
    """
    data = data_of(run)
    if data.videos:
        raise ConfigError(f"data.videos={' '.join(data.videos)}: they have no annotations, which training and scoring need; leave the option out")
    if not data.affwild2:
        raise ConfigError("data.affwild2 is empty; training and scoring need the annotations of an Aff-Wild2 tree")
    tree = affwild2(run)
    splits: dict[str, Split] = {subject.name: subject.split for subject in tree.subjects}
    labels = {name: tree.labels(name) for name, split in splits.items() if split != "test"}
    return AnnotationSet(splits=splits, labels=labels, example=tree.submission_rows() if "test" in splits.values() else [])


@once_per_run
def cv_folds(run: Run[Any]) -> dict[str, int]:
    """Fold of each annotated subject of both sets, from the annotations alone: the folds of the encoders per fold, and of Stage II with them."""
    return assign_folds(annotated(run).labels, folds=run.config.sweep.folds, seed=run.config.sweep.seed)


def join(storage: Storage, outputs: list[str], annotations: AnnotationSet) -> tuple[Frames, dict[str, str]]:
    """Read FEATURE outputs one by one and join them; returns the frames, and separately the left-out subjects with reasons, for the driver."""

    def tables() -> Iterator[pa.Table]:
        for path in outputs:
            yield storage.read_table(path)

    frames = join_frames(tables(), annotations.labels, annotations.splits)
    return frames, dict(frames.excluded_subjects)


def frames_in_cluster(run: Run[Any], features: Record, annotations: AnnotationSet) -> tuple[Any, dict[str, str]]:
    """An object reference to the joined frames of the annotated subjects' videos, and the annotated subjects that were left out, with reasons.

    Raises:
        StageError: more subjects were left out than ``max_failures`` allows.
    """
    import ray

    run.session.start()
    outputs = sorted(features.outputs.values())
    references: Any = ray.remote(num_cpus=1, max_retries=3, num_returns=2)(join).remote(run.storage, outputs, annotations)
    frames, left_out_ref = references
    left_out = fetch(left_out_ref)
    if not run.policy.within_budget(len(left_out), len(annotations.labels)):
        name, reason = next(iter(left_out.items()))
        raise StageError(
            f"fusion: {len(left_out)} of {len(annotations.labels)} annotated subjects cannot be used; at most {run.policy.max_failures:.1%} "
            f"(and at least 1) may fail; first {name}: {reason}; fix them and add --retry-failures, or raise --max-failures"
        )
    return frames, left_out
