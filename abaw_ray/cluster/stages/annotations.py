"""Annotations of the user's Aff-Wild2 tree, and the features of its subjects, joined into one ``Frames`` in the cluster's shared memory."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from abaw_ray.cluster.engine.run import Run, once_per_run
from abaw_ray.cluster.engine.user_errors import fetch
from abaw_ray.cluster.machines.placement import nodes_without_cpus, not_on
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.stages.sources import affwild2, data_of, videos
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.settings import digest
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.stage_store.store_index import StoreIndex
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.units import gib
from abaw_ray.data.folds import assign_folds
from abaw_ray.data.subjects import Split
from abaw_ray.fusion.frame_columns import GROWTH
from abaw_ray.fusion.frames import COLUMNS, Frames, bytes_per_frame, join_frames

_ONE_VIDEO_GB = 0.5
"""Memory for the table of one video, and for Python. Ours."""


@dataclass(frozen=True, kw_only=True)
class AnnotationSet:
    """Subjects of the data set and their annotations; small enough for the driver."""

    splits: dict[str, Split]
    """Split by subject's name."""
    labels: dict[str, np.ndarray]
    """Labels by subject's name, one per annotation row; subjects of the test release have none."""
    example: list[tuple[str, int]]
    """Subject and frame number of each row of the submission; empty without a test release."""

    def subject_names(self, split: Split) -> list[str]:
        """Names of a split's subjects."""
        return [name for name, of_subject in self.splits.items() if of_subject == split]

    def without(self, names: Collection[str]) -> "AnnotationSet":
        """The same annotations without these subjects."""
        splits = {name: split for name, split in self.splits.items() if name not in names}
        return replace(self, splits=splits, labels={name: rows for name, rows in self.labels.items() if name in splits})

    def labels_of(self, splits: Collection[str]) -> dict[str, np.ndarray]:
        """Labels of the annotated subjects of these splits."""
        return {name: labels for name, labels in self.labels.items() if self.splits[name] in splits}

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


def join(storage: Storage, outputs: list[str], annotations: AnnotationSet, splits: tuple[str, ...]) -> tuple[Frames, dict[str, str]]:
    """Read FEATURE outputs one by one and join the subjects of these splits; returns the frames, and separately the left-out subjects with reasons,
    for the driver.
    """
    tables = (storage.read_table(path, columns=list(COLUMNS)) for path in outputs)
    frames = join_frames(tables, annotations.labels_of(splits), annotations.splits, only_splits=splits)
    return frames, dict(frames.excluded_subjects)


def outputs_of(run: Run[Any], features: Mapping[str, str], annotations: AnnotationSet, splits: Collection[str]) -> list[str]:
    """Those of the outputs (by video) whose videos show a subject of these splits, sorted."""
    subjects = {name for name, split in annotations.splits.items() if split in splits}
    wanted = {row["video"] for row in videos(run).values() if any(subject["track"] in subjects for subject in row["subjects"])}
    return sorted(path for video, path in features.items() if video in wanted)


def frame_sizes(run: Run[Any], features: Record) -> Callable[[Sequence[str]], float]:
    """A function that gives the size in bytes of the frames of FEATURE outputs; their numbers of rows are in the index of their store."""
    index = StoreIndex(run.storage, features.store)
    index.refresh()
    return lambda outputs: index.rows(outputs) * bytes_per_frame(run.storage.table_schema(outputs[0])) if outputs else 0.0


def gb_to_join(frames: float) -> float:
    """GiB of heap memory that a task needs to join frames of this size in bytes: the frames, which grow by an eighth at a time, and one video."""
    return round(frames * GROWTH / gib(1) + _ONE_VIDEO_GB, 2)


def frames_in_cluster(
    run: Run[Any], features: Record, annotations: AnnotationSet, splits: tuple[str, ...], *, stage: str
) -> tuple[Any, dict[str, str]]:
    """An object reference to the joined frames of the subjects of these splits, and the annotated subjects that were left out, with reasons.

    Args:
        run: The run.
        features: Record of the FEATURE outputs.
        annotations: Subjects and their labels.
        splits: Those whose subjects are joined.
        stage: Name of the stage that needs the frames, for messages.

    Raises:
        ConfigError: no machine has enough memory for the frames.
        StageError: more subjects were left out than ``max_failures`` allows.
    """
    import ray

    outputs = outputs_of(run, features.outputs, annotations, splits)
    resources = Resources(workers=1, memory_gb=gb_to_join(frame_sizes(run, features)(outputs)))
    try:
        run.session.start(resources)
    except ConfigError as error:
        raise ConfigError(f"{stage}: the features take {resources.memory_gb:.1f} GB at once; use a machine with more memory") from error
    # If all machines with the frames are lost, Ray joins them again; trials that wait for them may hold all CPUs, so the task requests none.
    options = resources.task_options | {"num_cpus": 0, "label_selector": not_on(nodes_without_cpus())}
    task = ray.remote(**options, max_retries=3, num_returns=2)(join)
    references: Any = task.remote(run.storage, outputs, annotations, splits)
    frames, left_out_ref = references
    left_out = fetch(left_out_ref, f"{stage}: reading the features")
    labelled = len(annotations.labels)  # of all splits: what was few enough for the sweep is few enough for the predictions
    if not run.policy.within_budget(len(left_out), labelled):
        name, reason = next(iter(left_out.items()))
        raise StageError(
            f"{stage}: {len(left_out)} of {labelled} annotated subjects cannot be used; at most {run.policy.max_failures:.1%} "
            f"(and at least 1) may fail; first {name}: {reason}; fix them and add --retry-failures, or raise --max-failures"
        )
    return frames, left_out
