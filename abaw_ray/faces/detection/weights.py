"""A path, URI or hub name of YuNet's weights -> their bytes, verified: from a local file, an object store, the model hub, or the cache.

Exactly one file is accepted, so a fetched file is cached under its SHA-256 and found again without network access, whatever name it is
requested by. ``detect.py`` runs the network.
"""

import hashlib
import os
import uuid
from pathlib import Path

from abaw_ray.core.progress import echo
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.weights import WeightsSource
from abaw_ray.faces.config import YUNET_HUB

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
"""From OpenCV's model zoo (MIT license)."""
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_REMEDY = f"set faces.detector.weights to the path of {YUNET_FILE} (SHA-256 {YUNET_SHA256[:12]}...), or use --detector haar"


def yunet_weights(value: str, storage: StorageConfig | None = None) -> bytes:
    """Return the weights, verified.

    Args:
        value: A source of weights (``core.storage.weights``). A local file is read directly and never replaced by another; anything else is
            fetched once and kept in ``cache_folder()``.
        storage: Settings of object stores, for a URI.

    Raises:
        ConfigError: the file does not exist, the hub does not respond within seconds, or it is another file; the message says what to do.
        StorageError: the object store cannot be reached.
    """
    source = WeightsSource(setting="faces.detector.weights", value=value, repository=YUNET_HUB, remedy=_REMEDY, storage=storage or StorageConfig())
    return verified_weights(source, YUNET_FILE, YUNET_SHA256)


def verified_weights(source: WeightsSource, name: str, sha256: str) -> bytes:
    """Return the content of the one accepted file of a source.

    Args:
        source: Where the file is.
        name: Its name in a folder or repository.
        sha256: Its digest, in hexadecimal digits.

    Raises:
        ConfigError: as ``yunet_weights``.
        StorageError: the object store cannot be reached.

    Source: ours.
    """
    if source.is_random:
        raise source.error("this network needs its pretrained weights")
    if source.is_local:
        return _read(source, name, sha256)
    cached = cache_folder() / f"{sha256}.onnx"
    if cached.is_file() and _digest(data := cached.read_bytes()) == sha256:
        return data
    data = _read(source, name, sha256)
    _cache(data, cached, name)
    return data


def cache_folder() -> Path:
    """Return the folder of fetched files: ``ABAW_RAY_CACHE``, else ``abaw_ray`` in ``XDG_CACHE_HOME``, else ``~/.cache/abaw_ray``."""
    own, shared = os.environ.get("ABAW_RAY_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own).expanduser() if own else Path(shared or os.path.expanduser("~/.cache")) / "abaw_ray"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(source: WeightsSource, name: str, sha256: str) -> bytes:
    with source.local_file(name) as path:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise source.error(f"cannot be read ({error.strerror})") from error
    if (found := _digest(data)) != sha256:
        raise source.error(f"is another file, its SHA-256 is {found[:12]}...")
    return data


def _cache(data: bytes, path: Path, name: str) -> None:
    """Write the file atomically, so that another process finds the complete file or none."""
    temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        reason = f"{name} cannot be cached there ({error.strerror}) and is fetched again next time"
        echo(f"{path.parent}: {reason}; set ABAW_RAY_CACHE to a writable folder")
