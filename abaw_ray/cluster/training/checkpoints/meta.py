"""Metadata of a checkpoint, read without loading it: the number of ranks that wrote it, and how much of the training it contains."""

import json
from dataclasses import asdict, dataclass, fields

from abaw_ray.cluster.training.checkpoints.file_list import CheckpointError
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.storage import Storage

META_FILE = "meta.json"
_PREFIX = "checkpoint_"
"""Beginning of the names that Ray gives to checkpoints; the rest is the time."""


@dataclass(frozen=True, kw_only=True)
class CheckpointMeta:
    """Content of ``META_FILE``."""

    world_size: int
    """Number of ranks that wrote the checkpoint."""
    step: int = 0
    """Number of optimizer steps taken; 0 where an earlier version of the package wrote the checkpoint."""
    total_steps: int = 0
    """Number of optimizer steps of the whole training."""

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self))


def read_meta(storage: Storage, path: str) -> CheckpointMeta:
    """Read the metadata of a checkpoint.

    Args:
        storage: Storage of the checkpoint.
        path: Its folder below the storage root.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    where = f"{storage.uri(path)}/{META_FILE}"
    try:
        body = json.loads(storage.read_bytes(f"{path}/{META_FILE}"))
        return CheckpointMeta(**{field.name: int(body[field.name]) for field in fields(CheckpointMeta) if field.name in body})
    except FileNotFoundError:
        raise CheckpointError(f"{where}: is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{where}: is not the file that was written") from error


def checkpoint_names(storage: Storage, run: str) -> list[str]:
    """Names of the checkpoints of a run, the newest first; some may be incomplete.

    Args:
        storage: Storage of the checkpoints.
        run: Path of the run below the storage root.
    """
    folders = {name.partition("/")[0] for name in storage.files(run, recursive=True) if "/" in name}
    return sorted((name for name in folders if name.startswith(_PREFIX)), reverse=True)


def checkpoint_folder(store: StageStore, item: Item) -> str:
    """Folder below the storage root with the checkpoints of a training until its output is complete."""
    return f"{store.path}/runs/{item.key}"


def fraction_trained(store: StageStore, item: Item) -> float:
    """Fraction of the steps of a training that its newest checkpoint contains: 0 where there is none, 1 where the output is complete."""
    if store.finished([item]):
        return 1.0
    run = checkpoint_folder(store, item)
    for name in checkpoint_names(store.storage, run):
        try:
            meta = read_meta(store.storage, f"{run}/{name}")
        except CheckpointError:  # incomplete; an older one will be used
            continue
        return min(meta.step / max(meta.total_steps, 1), 1.0)
    return 0.0
