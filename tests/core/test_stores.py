import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pyarrow.fs as pafs
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig, _s3, resolve, s3_environment
from abaw_ray.core.storage.retries import is_transient

pytestmark = pytest.mark.slow


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    """The metadata service of a cloud machine; yields the paths that were requested."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(404)
            self.end_headers()

        def do_PUT(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")  # otherwise these are requested too
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.setenv(name, "")  # so that a value set during the test is removed
        monkeypatch.delenv(name)
    _s3.cache_clear()
    yield requests
    server.shutdown()
    server.server_close()
    _s3.cache_clear()


def test_a_store_outside_a_cloud_is_opened_without_metadata_requests(cloud):
    config = StorageConfig(uri="s3://bucket/runs", endpoint="http://127.0.0.1:1")
    filesystem, path = resolve(config.uri, config)
    assert (path, filesystem.region) == ("bucket/runs", "us-east-1")
    assert cloud == []
    assert s3_environment(config)["AWS_DEFAULT_REGION"] == "us-east-1"


def test_an_unknown_region_is_requested(cloud):
    resolve("s3://bucket/runs")
    until = time.monotonic() + 30
    while not cloud and time.monotonic() < until:  # pyarrow holds the GIL while it opens the store
        time.sleep(0.05)
    assert cloud, "without a region the client must request it"


def test_a_store_is_opened_once_per_process(cloud):
    config = StorageConfig(endpoint="http://127.0.0.1:1")
    first, second = resolve("s3://bucket/a", config)[0], resolve("s3://other/b", config)[0]
    assert first is second
    assert resolve("s3://bucket/a", StorageConfig(endpoint="http://127.0.0.1:2"))[0] is not first


def test_the_region_of_the_environment_is_used(cloud, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    filesystem, _ = resolve("s3://bucket/runs")
    assert isinstance(filesystem, pafs.S3FileSystem) and filesystem.region == "eu-west-1"
    assert s3_environment(StorageConfig(region="eu-north-1"))["AWS_DEFAULT_REGION"] == "eu-north-1"


def test_the_checksum_variable_is_used_unless_a_setting_overrides_it(monkeypatch):
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    assert s3_environment(StorageConfig())["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"
    assert s3_environment(StorageConfig(checksums="when_supported"))["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_supported"
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    assert "AWS_REQUEST_CHECKSUM_CALCULATION" not in s3_environment(StorageConfig())


def test_a_missing_bucket_and_a_refused_key_are_not_transient():
    for code in ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID"):
        assert not is_transient(OSError(f"AWS Error {code} during CreateMultipartUpload operation"))
    assert is_transient(OSError("AWS Error SLOW_DOWN during PutObject operation"))


@pytest.mark.parametrize("address", ["s3://AKIA123:secret@bucket/x", "s3://AKIA123:secret@bucket", "gs://me:secret@bucket/x"])
def test_an_address_with_a_key_in_it_is_refused_without_repeating_it(address):
    with pytest.raises(ConfigError, match=r"@bucket: this URI holds a key or password") as refused:
        resolve(address)
    with pytest.raises(ConfigError, match="a key or password"):
        StorageConfig(uri=address)
    with pytest.raises(ConfigError, match="a key or password"):
        StorageConfig(uri="s3://bucket", endpoint="http://me:secret@store:9000")
    assert "secret" not in str(refused.value) and "AKIA" not in str(refused.value)


def test_an_at_sign_in_a_name_is_not_a_key(tmp_path):
    assert resolve(f"{tmp_path}/a:b@c")[1] == f"{tmp_path}/a:b@c"
    assert StorageConfig(uri="s3://bucket/a:b@c").uri == "s3://bucket/a:b@c"
