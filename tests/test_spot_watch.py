"""The watcher on spot machines drains the Ray node once after a notice, and retries after errors."""

import importlib.util
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ray.exceptions import RayError
from timeouts import TIMEOUT_S

PATH = Path(__file__).parents[1] / "tools/clusters/node/spot_watch.py"


@pytest.fixture(scope="module")
def watcher():
    spec = importlib.util.spec_from_file_location("spot_watch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def metadata():
    """A metadata server like those of the clouds; tests set its responses."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.reply(200, "token" if self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")

        def do_GET(self):
            server.requests += 1
            allowed = self.headers["X-aws-ec2-metadata-token"] == "token" or self.headers["Metadata-Flavor"] == "Google"
            self.reply(*(server.responses.get(self.path, (404, "")) if allowed else (401, "")))

        def reply(self, code, text):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.responses, server.requests, server.url = {}, 0, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


AWS, GCP = "/latest/meta-data/spot/instance-action", "/computeMetadata/v1/instance/preempted"


def test_without_a_notice_there_is_no_interruption_time(watcher, metadata):
    metadata.responses[GCP] = (200, "FALSE")
    assert watcher.aws_notice(metadata.url) is None and watcher.gcp_notice(metadata.url) is None


def test_a_notice_gives_the_seconds_until_the_interruption(watcher, metadata):
    at = (datetime.now(UTC) + timedelta(seconds=115)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata.responses |= {AWS: (200, f'{{"action": "terminate", "time": "{at}"}}'), GCP: (200, "TRUE")}
    assert 110 < watcher.aws_notice(metadata.url) <= 115
    assert watcher.gcp_notice(metadata.url) == 30


def test_hibernation_has_no_delay(watcher, metadata):
    metadata.responses[AWS] = (200, '{"action": "hibernate", "time": "2026-01-01T00:00:00Z"}')
    assert watcher.aws_notice(metadata.url) == 0


def test_an_interruption_time_in_the_past_is_zero_seconds(watcher, metadata):
    metadata.responses[AWS] = (200, '{"action": "terminate", "time": "2020-01-01T00:00:00Z"}')
    assert watcher.aws_notice(metadata.url) == 0


def test_a_repeated_error_is_logged_once_and_retried(watcher, metadata, capsys):
    metadata.responses[AWS] = (503, "")
    drained = []

    def notice():
        if metadata.requests == 3:
            metadata.responses[AWS] = (200, '{"action": "terminate", "time": "2020-01-01T00:00:00Z"}')
        return watcher.aws_notice(metadata.url)

    watcher.watch(notice, drained.append, poll_s=0.01)
    output = capsys.readouterr().out
    assert drained == [0.0] and output.count("HTTPError") == 1 and output.rstrip().endswith("drained")


@pytest.mark.parametrize("error", [subprocess.CalledProcessError(1, "ray"), RayError("the head does not respond"), BadStatusLine("")])
def test_a_failed_drain_is_retried(watcher, error):
    tries = []

    def drain(seconds):
        tries.append(seconds)
        if len(tries) < 3:
            raise error

    watcher.watch(lambda: 30.0, drain, poll_s=0.01)
    assert tries == [30.0] * 3


def test_a_second_watcher_exits_at_once_and_an_unknown_cloud_is_a_usage_error(tmp_path):
    start = [sys.executable, str(PATH)]
    first = subprocess.Popen([*start, "gcp"], env={"ABAW_HOME": str(tmp_path)}, stdout=subprocess.PIPE, text=True)
    try:
        assert "notice (gcp)" in first.stdout.readline()
        second = subprocess.run([*start, "aws"], env={"ABAW_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        assert second.stdout == ""
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    wrong = subprocess.run([*start, "azure"], env={"ABAW_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert wrong.returncode == 1 and wrong.stderr == "usage: spot_watch.py aws|gcp\n"
