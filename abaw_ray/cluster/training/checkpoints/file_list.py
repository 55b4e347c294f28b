"""The list of a rank's files in a checkpoint with their SHA-256 digests, signed where there is a key; checked before anything is unpickled.

DeepSpeed loads its files by pickle, which can run code. The digests protect from damage. Who can write the checkpoint can write its lists too, so
only a signature (HMAC-SHA256) with a key that is not in the store protects from that: ``RecoveryConfig.checkpoint_key_file``.
"""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from abaw_ray.core.errors import ConfigError, StorageError
from abaw_ray.core.file_digest import file_sha256
from abaw_ray.core.storage.storage import Storage

_MIN_KEY_BYTES = 16
"""Smallest key. Ours."""


class CheckpointError(StorageError):
    """A checkpoint is incomplete, or is not the one that was written; an earlier one may be intact."""


def read_key(path: str) -> bytes:
    """The key in a local file; empty where no file is given.

    Raises:
        ConfigError: the file cannot be read, or holds too little.
    """
    if not path:
        return b""
    where, remedy = f"compute.recovery.checkpoint_key_file={path}", "`openssl rand -hex 32` prints a key"
    try:
        key = Path(path).expanduser().read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}; {remedy}") from error
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigError(f"{where}: has {len(key)} bytes, needs {_MIN_KEY_BYTES} or more; {remedy}")
    return key


def write_list(folder: Path, *, rank: int, world_size: int, key: bytes) -> None:
    """Write the list of all files of a local folder into it.

    Args:
        folder: This rank's part of the checkpoint.
        rank: This rank.
        world_size: Number of ranks that write the checkpoint.
        key: Signs the list; empty for none.
    """
    files = {str(path.relative_to(folder)): _describe(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    body = {"rank": rank, "world_size": world_size, "files": files}
    signature = {"signature": _sign(body, key)} if key else {}
    (folder / _name(rank)).write_text(json.dumps(body | signature))


def read_list(storage: Storage, path: str, *, rank: int, world_size: int, key: bytes) -> dict[str, dict[str, Any]]:
    """Name of each file of a rank -> ``size`` in bytes and ``sha256``.

    Args:
        storage: Storage of the checkpoint.
        path: Its folder below the storage root.
        rank: The rank.
        world_size: Number of ranks that wrote the checkpoint.
        key: Checks the signature; empty for no check.

    Raises:
        CheckpointError: the list is missing, is not signed with this key, or belongs to another rank.
    """
    where = f"{storage.uri(path)}/{_name(rank)}"
    try:
        body = json.loads(storage.read_bytes(f"{path}/{_name(rank)}"))
        signature = body.pop("signature", "")
        listed = {name: {"size": int(file["size"]), "sha256": str(file["sha256"])} for name, file in body["files"].items()}
    except FileNotFoundError:
        raise CheckpointError(f"{storage.uri(path)}: the files of rank {rank} of {world_size} are missing") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{where}: is not a list of files with digests") from error
    if key and not hmac.compare_digest(str(signature).encode(), _sign(body, key).encode()):
        raise CheckpointError(f"{where}: is not signed with the key of compute.recovery.checkpoint_key_file")
    if (body.get("rank"), body.get("world_size")) != (rank, world_size):
        raise CheckpointError(f"{where}: is not the list of rank {rank} of {world_size}")
    return listed


def check_file(local: Path, uri: str, sha256: str) -> None:
    """Check a downloaded file against its list.

    Raises:
        CheckpointError: it is not the file that was written.
    """
    found = _describe(local)["sha256"]
    if found != sha256:
        raise CheckpointError(f"{uri}: is not the file that was written: SHA-256 {found[:12]}, not {sha256[:12]}")


def _name(rank: int) -> str:
    return f"files-{rank}.json"


def _describe(path: Path) -> dict[str, Any]:
    return {"size": path.stat().st_size, "sha256": file_sha256(path)}


def _sign(body: dict, key: bytes) -> str:
    return hmac.new(key, json.dumps(body, sort_keys=True).encode(), hashlib.sha256).hexdigest()
