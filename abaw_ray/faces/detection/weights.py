"""A path, URI or hub name of YuNet's weights -> their bytes, verified: from a local file, an object store, the model hub, or the cache.

Exactly one file is accepted, so a fetched file is cached under its SHA-256 and found again without network access, whatever name it is
requested by. ``detect.py`` runs the network.
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
from abaw_ray.faces.config import YUNET_HUB

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
"""From OpenCV's model zoo (MIT licence)."""
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_TIMEOUT_S = 5.0
"""Seconds for the hub's first answer. The client alone retries for half a minute, or for six where packets are lost. Default ours."""
_REMEDY = f"set detector.weights to the path of {YUNET_FILE} (SHA-256 {YUNET_SHA256[:12]}...), or use --detector haar"


def yunet_weights(source: str, storage: StorageConfig | None = None) -> bytes:
    """Return the weights, verified.

    Args:
        source: A local path, a URI that pyarrow understands, or ``owner/name`` on the model hub; empty for the default repository. A local
            file is read directly and never replaced by another; anything else is fetched once and kept in ``cache_folder()``.
        storage: Settings of an object store; only endpoint and region are used.

    Raises:
        ConfigError: the file does not exist, the hub does not answer within seconds, or it is another file; the message says what to do.
        StorageError: the object store cannot be reached.

    Source: ours.
    """
    source = source or YUNET_HUB
    if not is_remote(source):
        path = Path(source.removeprefix("file://")).expanduser()
        if path.exists() or not _HUB_NAME.fullmatch(source) or source.endswith(".onnx"):
            return _verified(_read_local(path, source), source)
    cached = cache_folder() / f"{YUNET_SHA256}.onnx"
    if cached.is_file() and _is_expected(data := cached.read_bytes()):
        return data
    data = _verified(_from_store(source, storage) if is_remote(source) else _from_hub(source), source)
    _cache(data, cached)
    return data


def cache_folder() -> Path:
    """Return the folder of fetched files: ``ABAW_RAY_CACHE``, else ``abaw_ray`` in ``XDG_CACHE_HOME``, else ``~/.cache/abaw_ray``."""
    own, shared = os.environ.get("ABAW_RAY_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else Path(shared or os.path.expanduser("~/.cache")) / "abaw_ray"


def _is_expected(data: bytes) -> bool:
    return hashlib.sha256(data).hexdigest() == YUNET_SHA256


def _verified(data: bytes, source: str) -> bytes:
    if not _is_expected(data):
        found = hashlib.sha256(data).hexdigest()[:12]
        raise _error(source, f"is another file, its SHA-256 is {found}...")
    return data


def _error(source: str, reason: str) -> ConfigError:
    return ConfigError(f"detector.weights={source}: {reason}; {_REMEDY}")


def _read_local(path: Path, source: str) -> bytes:
    if path.is_dir():
        raise _error(source, "is a folder, not the file in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _error(source, "there is no such file") from None
    except OSError as error:
        raise _error(source, f"cannot be read ({error.strerror})") from error


def _from_store(uri: str, storage: StorageConfig | None) -> bytes:
    root, _, name = uri.rpartition("/")
    try:
        return Storage(replace(storage or StorageConfig(), uri=root)).read_bytes(name)
    except FileNotFoundError:
        raise _error(uri, "there is no such file") from None


def _from_hub(name: str) -> bytes:
    """Return the file from the hub, or from the cache of its client.

    A short request with a timeout comes first: the client alone retries many times where there is no network.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        try:
            path = hf_hub_download(name, YUNET_FILE, local_files_only=True)
        except LocalEntryNotFoundError:
            get_hf_file_metadata(hf_hub_url(name, YUNET_FILE), timeout=_HUB_TIMEOUT_S)
            path = hf_hub_download(name, YUNET_FILE, etag_timeout=_HUB_TIMEOUT_S)
        return Path(path).read_bytes()
    except OfflineModeIsEnabled as error:
        raise _error(name, "neither a local file nor in the cache of the model hub's client, and HF_HUB_OFFLINE forbids requests") from error
    except Exception as error:  # the client's errors, and those of what it is built on, have no other common base class
        reason = textwrap.shorten(str(error) or type(error).__name__, 120, placeholder=" ...")
        raise _error(name, f"neither a local file nor available from the model hub ({reason})") from error


def _cache(data: bytes, path: Path) -> None:
    """Write the file atomically, so that another process finds the complete file or none."""
    temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        reason = f"YuNet's weights cannot be cached there ({error.strerror}) and are fetched again next time"
        echo(f"{path.parent}: {reason}; set ABAW_RAY_CACHE to a writable folder")
