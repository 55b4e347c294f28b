"""Which file system an address means, and how an object store is reached. Credentials come from the usual chain of the store."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from abaw_ray.core.errors import ConfigError, StorageError

_CHECKSUMS = "AWS_REQUEST_CHECKSUM_CALCULATION"
_GOOGLE = 30
"""Seconds in which Google's client tries one request again; ours."""


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """Where results go. It does not shape them: the same settings give the same addresses below any ``uri``."""

    uri: str = "runs"
    """A local folder, ``s3://bucket/prefix``, ``gs://bucket/prefix``, or another URI that pyarrow understands."""
    endpoint: str = ""
    """S3 servers other than AWS, e.g. ``http://10.0.0.5:9000``; also read from ``AWS_ENDPOINT_URL``."""
    region: str = ""
    """S3 region; empty asks the usual chain, or is us-east-1 where an endpoint is given, whose server seldom cares."""
    checksums: Literal["", "when_supported", "when_required"] = ""
    """``when_required`` for older S3 servers that answer 411 to uploads with trailing checksums (for example Ceph 16); empty leaves it to
    ``AWS_REQUEST_CHECKSUM_CALCULATION``, else to the client library."""
    attempts: int = 5
    """How often a read or write is tried before the run gives up; ours, not from the paper."""

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        if not self.uri:
            raise ConfigError("storage.uri is empty; give a folder or an s3://bucket/prefix")
        if self.attempts < 1:
            raise ConfigError(f"storage.attempts={self.attempts} must be at least 1")
        for address in (self.uri, self.endpoint):
            _no_secret(address)


def environment(config: StorageConfig) -> dict[str, str]:
    """The settings as the variables that every S3 client reads: for workers, and for videos that are read by address alone."""
    found = {_CHECKSUMS: checksums} if (checksums := _checksums(config)) else {}
    if config.endpoint:
        found["AWS_ENDPOINT_URL"] = config.endpoint
    if region := _region(config):
        found["AWS_DEFAULT_REGION"] = region
    return found


def _checksums(config: StorageConfig) -> str:
    return config.checksums or os.environ.get(_CHECKSUMS, "")


def _region(config: StorageConfig) -> str:
    """The region as far as we know it: each client would ask its machine's cloud for one that it is not told."""
    known = config.region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or ""
    return known or ("us-east-1" if _endpoint(config) else "")


def _endpoint(config: StorageConfig) -> str:
    return config.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")


def is_remote(uri: str) -> bool:
    """Whether the address names an object store rather than a file of this machine."""
    return "://" in uri and not uri.startswith("file://")


def resolve(uri: str, config: StorageConfig | None = None) -> tuple[pafs.FileSystem, str]:
    """Return the file system and the path in it of a URI or local path.

    Raises:
        ConfigError: a key or password stands in the address, which logs and records repeat.
        StorageError: pyarrow does not know the scheme, or the address has no bucket.
    """
    _no_secret(uri)
    config = config or StorageConfig()
    if not is_remote(uri):
        return pafs.LocalFileSystem(), str(Path(uri.removeprefix("file://")).absolute())
    if not uri.startswith("s3://"):
        try:
            return pafs.FileSystem.from_uri(_bounded(uri))
        except (pa.ArrowInvalid, OSError) as error:
            raise StorageError(f"{uri}: {error}; use a local folder, s3:// or gs://") from error
    if len(uri) == len("s3://"):
        raise StorageError(f"{uri}: names no bucket; write s3://bucket/prefix")
    return _s3(_endpoint(config), _region(config), _checksums(config)), uri.removeprefix("s3://").rstrip("/")


def _bounded(uri: str) -> str:
    """The address with Google's client told when to give up, of which we try again: by itself it tries for a quarter of an hour."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={_GOOGLE}"


def _no_secret(address: str) -> None:
    scheme, there, rest = address.partition("://")
    secret, at, host = rest.partition("/")[0].rpartition("@")
    if there and at and ":" in secret:
        raise ConfigError(
            f"{scheme}://...@{host}: a key or password stands in this address; leave it to the store's own variables, profiles or roles"
        )


@cache
def _s3(endpoint: str, region: str, checksums: str) -> pafs.S3FileSystem:
    """One client a process: where there is no cloud to ask for its region, each costs seconds (AWS's client library asks, whatever it is told)."""
    if checksums:
        os.environ[_CHECKSUMS] = checksums
    options = {"region": region} if region else {}
    if region:
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    return pafs.S3FileSystem(request_timeout=60, connect_timeout=10, **options)
