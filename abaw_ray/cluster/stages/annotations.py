"""FEATURE parts in storage -> one ``Frames`` in the cluster's shared memory, joined where there is memory for it, never on the driver."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.engine.run import Run, once_a_run
from abaw_ray.cluster.engine.stage import fetch
from abaw_ray.cluster.stages.faces import affwild2
from abaw_ray.core.errors import ConfigError, StageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.records import Record
from abaw_ray.core.storage.storage import Storage
from abaw_ray.fusion.frames import Frames, join_frames

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass(frozen=True, kw_only=True)
class AnnotationSet:
    """Who is in the data set and what was annotated; small enough for the driver."""

    splits: dict[str, str]
    """Split by subject's name."""
    labels: dict[str, np.ndarray]
    """Annotation rows by subject's name; the test release has none."""
    example: list[tuple[str, int]]
    """Rows of the submission; empty without a test release."""

    @property
    def identity(self) -> str:
        """Changes with any label or split."""
        rows = {name: digest(labels.tolist()) for name, labels in self.labels.items()}
        return digest([self.splits, rows, self.example])


@once_a_run
def annotated(run: Run) -> AnnotationSet:
    """Read the annotations of the user's Aff-Wild2 tree.

    Raises:
        ConfigError: there is none, or other videos were named: without labels nothing can be trained or scored.
    """
    if run.data.videos:
        raise ConfigError(f"data.videos={run.data.videos}: these have no annotations, and training and scoring need some; leave it out here")
    if not run.data.affwild2:
        raise ConfigError("data.affwild2 is empty; training and scoring need the annotations of an Aff-Wild2 tree")
    tree = affwild2(run)
    splits = {subject.name: subject.split for subject in tree.subjects}
    labels = {name: tree.labels(name) for name, split in splits.items() if split != "test"}
    return AnnotationSet(splits=splits, labels=labels, example=tree.submission_rows() if "test" in splits.values() else [])


def join(storage: Storage, parts: list[str], who: AnnotationSet) -> tuple[Frames, dict[str, str]]:
    """Read the parts one after the other and join them; who was left out is returned a second time, for those who need no more."""

    def tables() -> Iterator[pa.Table]:
        for path in parts:
            yield storage.read_table(path)

    frames = join_frames(tables(), who.labels, who.splits)
    return frames, dict(frames.excluded_subjects)


def frames_in_cluster(run: Run, features: Record, who: AnnotationSet) -> tuple["ObjectRef", dict[str, str]]:
    """A reference to the joined frames of the annotated subjects' videos, and the annotated subjects who are not among them, with the reasons.

    Raises:
        StageError: more of them than ``max_failures`` allows.
    """
    import ray

    on = run.compute
    run.engine.start(cpus=on.cpus_per_trial, gpus=on.gpus_per_trial, memory_gb=on.trial_memory_gb)
    parts = sorted(features.parts.values())
    frames, left = ray.remote(num_cpus=1, max_retries=3, num_returns=2)(join).remote(run.storage, parts, who)
    left_out = fetch(left)
    if not run.policy.bears(len(left_out), len(who.labels)):
        name, reason = next(iter(left_out.items()))
        raise StageError(
            f"fusion: {len(left_out)} of {len(who.labels)} annotated people cannot be used, allowed are {run.policy.max_failures:.1%} and at least "
            f"1; first {name}: {reason}; mend them and add --policy.retry-failures, or raise --policy.max-failures"
        )
    return frames, left_out
