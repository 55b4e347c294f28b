"""Checkpoints of distributed training: each rank's files to storage and back, verified, and loadable by another number of ranks.

Ray's own upload can lose a file without an error (pyarrow's ``copy_files`` drops a failed upload). So every file goes through ``Storage``,
which verifies the upload, and each rank writes a list of its files with their digests, which is checked before anything is loaded.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock

from abaw_ray.cluster.training.checkpoints.file_list import CheckpointError, check_file, read_list, write_list
from abaw_ray.cluster.training.checkpoints.meta import META_FILE, CheckpointMeta, read_meta
from abaw_ray.cluster.training.ranks.average import WeightAverage
from abaw_ray.cluster.training.ranks.zero import ZeroEngine, to_universal
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.folders import download_folder
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import node_cache_folder

AVERAGE = "average"
"""Folder of the average of the weights, beside that of DeepSpeed's files."""


def write(engine: ZeroEngine, state: dict, meta: CheckpointMeta, *, rank: int, average: WeightAverage | None = None, key: bytes = b"") -> Path:
    """Write this rank's files of a checkpoint into a new local folder, which the uploader deletes. All ranks call this together.

    Args:
        engine: The engine whose state is saved.
        state: Further state, plain values.
        meta: What can be read without loading it.
        rank: This rank.
        average: Average of the weights, if one is used.
        key: Signs the list of the files; empty for none.
    """
    folder = Path(tempfile.mkdtemp(prefix="abaw-checkpoint-"))
    with ExitStack() as on_error:
        on_error.callback(shutil.rmtree, folder, ignore_errors=True)  # else each attempt would fill a full disk further
        engine.save(folder / "zero", state)
        if average and (average.sharded or rank == 0):
            average.save(folder / AVERAGE, rank)
        if rank == 0:
            (folder / META_FILE).write_text(meta.to_json())
        write_list(folder, rank=rank, world_size=meta.world_size, key=key)
        on_error.pop_all()
    return folder


def uploader(storage: Storage, run: str) -> Callable[[Any, str], Any]:
    """The ``checkpoint_upload_fn`` of ``ray.train.report``: uploads a checkpoint's files below the run's folder and verifies their sizes.

    Args:
        storage: The storage of Ray's run.
        run: Path of the run below the storage root.
    """

    def upload(checkpoint: Any, name: str) -> Any:
        from abaw_ray.cluster.training.ray_private import checkpoint_in_storage

        local = Path(checkpoint.path)
        try:
            for path in sorted(local.rglob("*")):
                if path.is_file():
                    storage.put_file(path, f"{run}/{name}/{path.relative_to(local)}")
        finally:
            shutil.rmtree(local, ignore_errors=True)
        return checkpoint_in_storage(name)

    return upload


def fetch(storage: Storage, path: str, *, world_size: int, convert: bool, key: bytes = b"") -> tuple[Path, bool]:
    """Download a checkpoint to this node, once for all its ranks, in a form that this number of ranks can load.

    Args:
        storage: Storage of the checkpoint.
        path: Its folder below the storage root.
        world_size: Number of ranks that will load it.
        convert: Whether another number of ranks needs a universal checkpoint (every ZeRO stage but 0).
        key: Checks the signatures of the lists of files; empty for no check.

    Returns:
        The folder to load from and whether it is a universal checkpoint; ``delete_local_copy`` deletes it after all ranks of the node have loaded.

    Raises:
        CheckpointError: files of a rank are missing, incomplete, or not those that were written; nothing of them is unpickled.
        StorageError: the store cannot be reached.
    """
    target = _local_copy(storage, path, world_size)
    with FileLock(f"{target}.lock"):
        written_by = read_meta(storage, path).world_size
        universal = convert and written_by != world_size
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=f"{target.name}-", dir=target.parent) as folder:
                partial = Path(folder) / "complete"
                _download(storage, path, partial, written_by, key)
                if universal:
                    to_universal(partial / "zero", partial / "universal")
                os.replace(partial, target)
    return (target / "universal" if universal else target / "zero"), universal


def delete_local_copy(storage: Storage, path: str, *, world_size: int) -> None:
    """Delete this node's copy of a checkpoint."""
    shutil.rmtree(_local_copy(storage, path, world_size), ignore_errors=True)


def _local_copy(storage: Storage, path: str, world_size: int) -> Path:
    return node_cache_folder() / f"checkpoint-{digest([storage.uri(path), world_size])}"


def _download(storage: Storage, path: str, target: Path, world_size: int, key: bytes) -> None:
    sizes, files = storage.files(path, recursive=True), dict[str, Any]()
    for rank in range(world_size):
        files |= read_list(storage, path, rank=rank, world_size=world_size, key=key)
    for name, file in files.items():
        if sizes.get(name) != file["size"]:
            raise CheckpointError(f"{storage.uri(path)}/{name}: has {sizes.get(name, 0)} of {file['size']} bytes")
    download_folder(storage, path, target, names=files)
    for name, file in files.items():
        check_file(target / name, f"{storage.uri(path)}/{name}", file["sha256"])
