"""FEATURE parts in storage -> one ``Frames`` in the cluster's shared memory, joined where there is memory for it, never on the driver."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from abaw_ray.cluster.faces import affwild2
from abaw_ray.cluster.job import Run, once_a_run
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.records import Record
from abaw_ray.core.settings import digest
from abaw_ray.core.storage import Storage
from abaw_ray.fusion.frames import Frames, join_frames

if TYPE_CHECKING:
    from ray import ObjectRef


@dataclass(frozen=True, kw_only=True)
class Annotated:
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
def annotated(run: Run) -> Annotated:
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
    return Annotated(splits=splits, labels=labels, example=tree.example() if "test" in splits.values() else [])


def join(storage: Storage, parts: list[str], who: Annotated) -> Frames:
    """Read the parts one after the other and join them."""

    def tables() -> Iterator[pa.Table]:
        for path in parts:
            yield storage.read_table(path)

    return join_frames(tables(), who.labels, who.splits)


def frames_in_cluster(run: Run, features: Record, who: Annotated) -> "ObjectRef":
    """A reference to the joined frames of the annotated subjects' videos."""
    import ray

    run.engine.start(cpus=run.compute.cpus_per_trial, gpus=run.compute.gpus_per_trial)
    parts = sorted(features.parts.values())
    return ray.remote(num_cpus=1, max_retries=3)(join).remote(run.storage, parts, who)
