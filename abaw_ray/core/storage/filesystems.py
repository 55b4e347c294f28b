"""Resolves a URI to a file system and configures the clients of object stores. Credentials come from the store's default credential chain."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from abaw_ray.core.errors import ConfigError, StorageError

_CHECKSUM_VARIABLE = "AWS_REQUEST_CHECKSUM_CALCULATION"
_GCS_RETRY_LIMIT = 30
"""Seconds for which Google's client retries one request; ours."""


class FileStat(NamedTuple):
    """What a listing shows of a file."""

    size: int
    """Bytes."""
    modified_ns: int
    """Nanoseconds since 1970; object stores have seconds or milliseconds only."""


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """Where results go. It does not affect them: the same settings give the same addresses below any ``uri``."""

    uri: str = "runs"
    """Where results go: a local folder, ``s3://bucket/prefix``, ``gs://bucket/prefix``, or another URI that pyarrow understands."""
    endpoint: str = ""
    """Address of an S3 server other than AWS, as ``http://10.0.0.5:9000``; also read from ``AWS_ENDPOINT_URL``."""
    region: str = ""
    """S3 region; empty uses AWS's default, or us-east-1 where an endpoint is given: servers other than AWS rarely check it."""
    checksums: Literal["", "when_supported", "when_required"] = ""
    """``when_required`` for older S3 servers that respond with HTTP 411 to uploads with trailing checksums (for example Ceph 16); empty uses
    ``AWS_REQUEST_CHECKSUM_CALCULATION``, else the client library's default."""
    attempts: int = 5
    """Attempts per read or write before the run fails. Default ours."""

    def __post_init__(self) -> None:
        """Refuse an empty URI, fewer than one attempt, and secrets in URIs."""
        if not self.uri:
            raise ConfigError("storage.uri is empty; give a folder or an s3://bucket/prefix")
        if self.attempts < 1:
            raise ConfigError(f"storage.attempts={self.attempts} must be at least 1")
        for uri in (self.uri, self.endpoint):
            _refuse_secret(uri)


def s3_environment(config: StorageConfig) -> dict[str, str]:
    """The settings as environment variables that every S3 client reads: for workers, and for videos that are read by their URI alone."""
    variables = {_CHECKSUM_VARIABLE: checksums} if (checksums := _checksums(config)) else {}
    if config.endpoint:
        variables["AWS_ENDPOINT_URL"] = config.endpoint
    if region := _region(config):
        variables["AWS_DEFAULT_REGION"] = region
    return variables


def _checksums(config: StorageConfig) -> str:
    return config.checksums or os.environ.get(_CHECKSUM_VARIABLE, "")


def _region(config: StorageConfig) -> str:
    """The known region, or empty. Without a region each client queries the metadata service of its machine."""
    known = config.region or os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or ""
    return known or ("us-east-1" if _endpoint(config) else "")


def _endpoint(config: StorageConfig) -> str:
    return config.endpoint or os.environ.get("AWS_ENDPOINT_URL", "")


def is_remote(uri: str) -> bool:
    """Whether this is the URI of an object store, not of a local file."""
    return "://" in uri and not uri.startswith("file://")


def resolve(uri: str, config: StorageConfig | None = None) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI or local path, and the path in it.

    Raises:
        ConfigError: the URI holds a key or password, which logs and records would repeat.
        StorageError: pyarrow does not support the scheme, or the URI has no bucket.
    """
    _refuse_secret(uri)
    config = config or StorageConfig()
    if not is_remote(uri):
        return pafs.LocalFileSystem(), str(Path(uri.removeprefix("file://")).absolute())
    if not uri.startswith("s3://"):
        try:
            return pafs.FileSystem.from_uri(_with_retry_limit(uri))
        except (pa.ArrowInvalid, OSError) as error:
            raise StorageError(f"{uri}: {error}; use a local folder, s3:// or gs://") from error
    if len(uri) == len("s3://"):
        raise StorageError(f"{uri}: has no bucket; write s3://bucket/prefix")
    return _s3(_endpoint(config), _region(config), _checksums(config)), uri.removeprefix("s3://").rstrip("/")


def _with_retry_limit(uri: str) -> str:
    """The URI with a retry limit for Google's client, whose default is 15 minutes; ``Storage`` retries failed requests."""
    if not uri.startswith(("gs://", "gcs://")) or "retry_limit_seconds=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}retry_limit_seconds={_GCS_RETRY_LIMIT}"


def _refuse_secret(uri: str) -> None:
    scheme, separator, rest = uri.partition("://")
    secret, at, host = rest.partition("/")[0].rpartition("@")
    if separator and at and ":" in secret:
        raise ConfigError(
            f"{scheme}://...@{host}: this URI holds a key or password; pass it through the store's environment variables, profiles or roles"
        )


def s3_client(config: StorageConfig) -> Any:
    """A boto3 client, for what pyarrow's file system does not offer: conditional requests."""
    return _s3_client(_endpoint(config), _region(config), _checksums(config), config.attempts)


@cache
def _s3_client(endpoint: str, region: str, checksums: str, attempts: int) -> Any:
    import boto3
    from botocore.config import Config

    options: dict[str, Any] = {"request_checksum_calculation": checksums} if checksums else {}
    settings = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, connect_timeout=10, read_timeout=60, **options)
    address = endpoint if not endpoint or "://" in endpoint else f"https://{endpoint}"
    return boto3.client("s3", endpoint_url=address or None, region_name=region or None, config=settings)


@cache
def _s3(endpoint: str, region: str, checksums: str) -> pafs.S3FileSystem:
    """One client per process: outside a cloud each new client takes seconds, because AWS's library always queries the metadata service."""
    if checksums:
        os.environ[_CHECKSUM_VARIABLE] = checksums
    options = {"region": region} if region else {}
    if region:
        os.environ.setdefault("AWS_DEFAULT_REGION", region)
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    return pafs.S3FileSystem(request_timeout=60, connect_timeout=10, **options)
