"""The watcher on spot machines: it hears the cloud's notice, says it to Ray once, and lives through what goes wrong."""

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

PATH = Path(__file__).parents[1] / "tools/clusters/node/spot_watch.py"


@pytest.fixture(scope="module")
def watcher():
    spec = importlib.util.spec_from_file_location("spot_watch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def metadata():
    """A metadata server as the clouds have it; tests set what it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self):
            self.echo(200, "token" if self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"] else "")

        def do_GET(self):
            server.asked += 1
            allowed = self.headers["X-aws-ec2-metadata-token"] == "token" or self.headers["Metadata-Flavor"] == "Google"
            self.echo(*(server.answers.get(self.path, (404, "")) if allowed else (401, "")))

        def echo(self, code, text):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked, server.url = {}, 0, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


AWS, GCP = "/latest/meta-data/spot/instance-action", "/computeMetadata/v1/instance/preempted"


def test_without_a_notice_a_machine_stays(watcher, metadata):
    metadata.answers[GCP] = (200, "FALSE")
    assert watcher.aws(metadata.url) is None and watcher.gcp(metadata.url) is None


def test_a_notice_says_how_many_seconds_are_left(watcher, metadata):
    at = (datetime.now(UTC) + timedelta(seconds=115)).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata.answers |= {AWS: (200, f'{{"action": "terminate", "time": "{at}"}}'), GCP: (200, "TRUE")}
    assert 110 < watcher.aws(metadata.url) <= 115
    assert watcher.gcp(metadata.url) == 30


def test_a_machine_that_is_put_to_sleep_has_no_time_left(watcher, metadata):
    metadata.answers[AWS] = (200, '{"action": "hibernate", "time": "2026-01-01T00:00:00Z"}')
    assert watcher.aws(metadata.url) == 0


def test_a_time_that_has_passed_is_now(watcher, metadata):
    metadata.answers[AWS] = (200, '{"action": "terminate", "time": "2020-01-01T00:00:00Z"}')
    assert watcher.aws(metadata.url) == 0


def test_trouble_is_said_once_and_outlived(watcher, metadata, capsys):
    metadata.answers[AWS] = (503, "")
    drained = []

    def notice():
        if metadata.asked == 3:
            metadata.answers[AWS] = (200, '{"action": "terminate", "time": "2020-01-01T00:00:00Z"}')
        return watcher.aws(metadata.url)

    watcher.watch(notice, drained.append, poll=0.01)
    said = capsys.readouterr().out
    assert drained == [0.0] and said.count("HTTPError") == 1 and said.rstrip().endswith("drained")


@pytest.mark.parametrize("error", [subprocess.CalledProcessError(1, "ray"), RayError("the head does not answer"), BadStatusLine("")])
def test_a_drain_that_ray_refuses_is_tried_again(watcher, error):
    tries = []

    def drain(seconds):
        tries.append(seconds)
        if len(tries) < 3:
            raise error

    watcher.watch(lambda: 30.0, drain, poll=0.01)
    assert tries == [30.0] * 3


def test_a_second_watcher_of_a_machine_ends_at_once_and_an_unknown_cloud_is_refused(tmp_path):
    start = [sys.executable, str(PATH)]
    first = subprocess.Popen([*start, "gcp"], env={"ABAW_HOME": str(tmp_path)}, stdout=subprocess.PIPE, text=True)
    try:
        assert "watching for gcp" in first.stdout.readline()
        second = subprocess.run([*start, "aws"], env={"ABAW_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=True)
        assert second.stdout == ""
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    wrong = subprocess.run([*start, "azure"], env={"ABAW_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 1 and wrong.stderr == "say which cloud: aws or gcp\n"
