"""The name of YuNet's weights -> their bytes, checked: from a local file, an object store, the model hub, or what was fetched before.

Only one file is right, so whatever is fetched is kept under its SHA-256 and found again without network, by whichever name it is asked
for. What the network does with a picture is ``detect.py``'s.
"""

import hashlib
import os
import re
import textwrap
import uuid
from dataclasses import replace
from pathlib import Path

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.progress import echo
from abaw_ray.core.storage.filesystems import StorageConfig, is_remote
from abaw_ray.core.storage.storage import Storage

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
"""From OpenCV's model zoo (MIT licence)."""
YUNET_HUB = "opencv/face_detection_yunet"
"""Its repository on the model hub."""
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_PATIENCE = 5.0
"""Seconds for the hub's first answer. The client alone would wait and try again for half a minute, or six where packets get lost. Ours."""
_DO = f"set detector.weights to the path of {YUNET_FILE} (SHA-256 {YUNET_SHA256[:12]}...), or use --detector haar"


def yunet_weights(where: str, storage: StorageConfig | None = None) -> bytes:
    """Read the weights.

    Args:
        where: A local path, a URI that pyarrow understands, or ``owner/name`` on the model hub; empty is the hub's usual one. A local file
            is read where it is and no other is taken instead; anything else is fetched once and kept in ``cache_folder()``.
        storage: Where an object store is; only its endpoint and region matter here.

    Raises:
        ConfigError: there is no such file, the hub does not give it within seconds, or it is another file; the message says what to do.
        StorageError: the object store cannot be reached.

    Source: ours.
    """
    where = where or YUNET_HUB
    if not is_remote(where):
        path = Path(where.removeprefix("file://")).expanduser()
        if path.exists() or not _HUB_NAME.fullmatch(where) or where.endswith(".onnx"):
            return _checked(_local(path, where), where)
    kept = cache_folder() / f"{YUNET_SHA256}.onnx"
    if kept.is_file() and _is_right(data := kept.read_bytes()):
        return data
    data = _checked(_stored(where, storage) if is_remote(where) else _of_hub(where), where)
    _keep(data, kept)
    return data


def cache_folder() -> Path:
    """Where fetched files are kept: ``ABAW_RAY_CACHE``, else ``abaw_ray`` in ``XDG_CACHE_HOME``, else ``~/.cache/abaw_ray``."""
    own, shared = os.environ.get("ABAW_RAY_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else Path(shared or os.path.expanduser("~/.cache")) / "abaw_ray"


def _is_right(data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == YUNET_SHA256


def _checked(data: bytes, where: str) -> bytes:
    if not _is_right(data):
        found = hashlib.sha256(data).hexdigest()[:12]
        raise _error(where, f"is another file, its SHA-256 is {found}...")
    return data


def _error(where: str, reason: str) -> ConfigError:
    return ConfigError(f"detector.weights={where}: {reason}; {_DO}")


def _local(path: Path, where: str) -> bytes:
    if path.is_dir():
        raise _error(where, "is a folder, not the file in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _error(where, "there is no such file") from None
    except OSError as error:
        raise _error(where, f"cannot be read ({error.strerror})") from error


def _stored(uri: str, storage: StorageConfig | None) -> bytes:
    root, _, name = uri.rpartition("/")
    try:
        return Storage(replace(storage or StorageConfig(), uri=root)).read_bytes(name)
    except FileNotFoundError:
        raise _error(uri, "there is no such file") from None


def _of_hub(name: str) -> bytes:
    """What the hub gives, or its client has kept from another time.

    The client fetches after a first, short question of ours: left to itself it asks again and again where there is no network.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        try:
            path = hf_hub_download(name, YUNET_FILE, local_files_only=True)
        except LocalEntryNotFoundError:
            get_hf_file_metadata(hf_hub_url(name, YUNET_FILE), timeout=_PATIENCE)
            path = hf_hub_download(name, YUNET_FILE, etag_timeout=_PATIENCE)
        return Path(path).read_bytes()
    except OfflineModeIsEnabled as error:
        raise _error(name, "neither a file here nor kept by the model hub's client, which HF_HUB_OFFLINE keeps from asking") from error
    except Exception as error:  # the client's errors, and those of what it is built on, have no other base in common
        reason = textwrap.shorten(str(error) or type(error).__name__, 120, placeholder=" ...")
        raise _error(name, f"neither a file here nor given by the model hub ({reason})") from error


def _keep(data: bytes, path: Path) -> None:
    """All at once, so that another process finds the whole file or none."""
    part = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        echo(f"{path.parent}: YuNet's weights cannot be kept there ({error.strerror}) and are fetched again next time; set ABAW_RAY_CACHE")
