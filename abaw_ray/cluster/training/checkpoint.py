"""Checkpoints of a training on many ranks: each rank's files to storage and back, checked, and readable by another number of ranks.

Ray's own upload can lose a file without an error (pyarrow's ``copy_files`` drops a failed upload), so every file goes through ``Storage``,
which checks what arrived, and each rank leaves a list of what it wrote, which is checked again before anything is loaded.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock

from abaw_ray.cluster.training.zero import ZeroEngine, to_universal
from abaw_ray.core.errors import StorageError
from abaw_ray.core.settings import digest
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import node_folder

_META = "meta.json"


def write(engine: ZeroEngine, state: dict, *, rank: int, ranks: int) -> Path:
    """Write this rank's part of a checkpoint into a fresh local folder; whoever uploads it deletes it. All ranks call it together."""
    folder = Path(tempfile.mkdtemp(prefix="abaw-checkpoint-"))
    with ExitStack() as broken_off:
        broken_off.callback(shutil.rmtree, folder, ignore_errors=True)  # a disk that is full would only grow fuller with each attempt
        engine.save(folder / "zero", state)
        if rank == 0:
            (folder / _META).write_text(json.dumps({"ranks": ranks}))
        files = {str(path.relative_to(folder)): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
        (folder / f"files-{rank}.json").write_text(json.dumps(files))
        broken_off.pop_all()
    return folder


def uploader(storage: Storage, run: str) -> Callable[[Any, str], Any]:
    """The ``checkpoint_upload_fn`` of ``ray.train.report``: writes the folder below the run's own and checks every file's size.

    Args:
        storage: The storage that Ray's run lives in.
        run: Path of the run below the storage root.
    """

    def upload(checkpoint: Any, name: str) -> Any:
        import ray.train

        local = Path(checkpoint.path)
        try:
            for path in sorted(local.rglob("*")):
                if path.is_file():
                    storage.put_file(path, f"{run}/{name}/{path.relative_to(local)}")
        finally:
            shutil.rmtree(local, ignore_errors=True)
        place = ray.train.get_context().get_storage()
        return ray.train.Checkpoint(path=place.build_checkpoint_path_from_name(name), filesystem=place.storage_filesystem)

    return upload


def fetch(storage: Storage, path: str, *, ranks: int, convert: bool) -> tuple[Path, bool]:
    """Bring a checkpoint to this node, once for all its ranks, in the form that this number of ranks can load.

    Args:
        storage: Where it lies.
        path: Its folder below the storage root.
        ranks: How many ranks will load it.
        convert: Whether another number of ranks needs it converted (every stage but 0).

    Returns:
        The folder to load from and whether it was converted; ``drop`` deletes it after all ranks of the node have loaded.

    Raises:
        StorageError: a rank's files are not all there.
    """
    target = _node_folder(storage, path, ranks)
    with FileLock(f"{target}.lock"):
        meta = json.loads(storage.read_bytes(f"{path}/{_META}"))
        other = convert and meta["ranks"] != ranks
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix=f"{target.name}-", dir=target.parent) as folder:
                partial = Path(folder) / "whole"
                _download(storage, path, partial, meta["ranks"])
                if other:
                    to_universal(partial / "zero", partial / "universal")
                os.replace(partial, target)
    return (target / "universal" if other else target / "zero"), other


def drop(storage: Storage, path: str, *, ranks: int) -> None:
    """Delete this node's copy."""
    shutil.rmtree(_node_folder(storage, path, ranks), ignore_errors=True)


def _node_folder(storage: Storage, path: str, ranks: int) -> Path:
    return node_folder() / f"checkpoint-{digest([storage.uri(path), ranks])}"


def _download(storage: Storage, path: str, target: Path, ranks: int) -> None:
    there = storage.files(path, recursive=True)
    for rank in range(ranks):
        if f"files-{rank}.json" not in there:
            raise StorageError(f"{storage.uri(path)}: the files of rank {rank} of {ranks} are missing; delete this folder's run to train anew")
        for name, size in json.loads(storage.read_bytes(f"{path}/files-{rank}.json")).items():
            if there.get(name) != size:
                raise StorageError(f"{storage.uri(path)}/{name}: has {there.get(name, 0)} of {size} bytes; delete this folder's run to train anew")
            storage.get_file(f"{path}/{name}", target / name)
