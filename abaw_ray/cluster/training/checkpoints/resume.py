"""The newest intact checkpoint of a run, on all ranks the same one."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from abaw_ray.cluster.training.checkpoints.checkpoint import delete_local_copy, fetch
from abaw_ray.cluster.training.checkpoints.file_list import CheckpointError
from abaw_ray.cluster.training.checkpoints.meta import checkpoint_names
from abaw_ray.cluster.training.job import RankJob

_LOG = logging.getLogger(__name__)
OnAllRanks = Callable[[Callable[[], tuple[Path, bool]]], tuple[Path, bool]]
"""Calls a function; the error of one rank is raised on all."""


class Resumed(NamedTuple):
    """A checkpoint that was found intact and downloaded."""

    path: str
    """Its folder below the storage root."""
    folder: Path
    """Local folder to load from."""
    universal: bool
    """Whether it is a universal checkpoint."""
    skipped: str
    """Why newer checkpoints were not used; empty where there is none."""


def fetch_intact(job: RankJob, newest: str, *, world_size: int, on_all_ranks: OnAllRanks = lambda call: call()) -> Resumed:
    """Download the newest checkpoint that is complete and unchanged; all ranks call this together.

    Args:
        job: Input of the rank.
        newest: Name of the last checkpoint that was reported.
        world_size: Number of ranks that will load it.
        on_all_ranks: Raises an error of one rank on all, so that all use the same checkpoint.

    Raises:
        CheckpointError: none is intact; names the first file that is not.
        StorageError: the store cannot be reached.
    """
    storage, errors = job.storage, []
    options = {"world_size": world_size, "convert": job.config.zero_stage > 0, "key": job.checkpoint_key}
    for name in (newest, *(name for name in checkpoint_names(storage, job.run) if name < newest)):
        path = f"{job.run}/{name}"
        try:
            folder, universal = on_all_ranks(partial(fetch, storage, path, **options))
        except CheckpointError as error:
            _LOG.warning("%s", error)
            delete_local_copy(storage, path, world_size=world_size)  # another node may have downloaded it without an error
            errors.append(error)
            continue
        return Resumed(path, folder, universal, f"{errors[0]}; continues from {name} instead" if errors else "")
    raise CheckpointError(f"{errors[0]}; no other checkpoint is intact; delete {storage.uri(job.run)} to train from the start") from errors[0]
