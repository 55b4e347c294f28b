"""A model hub on loopback for tests: serves the files given to it and records every request."""

import hashlib
import http.server
import threading

import huggingface_hub.constants as hub_settings
import pytest


def set_hub_address(monkeypatch, address):
    """Set the hub's address as ``HF_ENDPOINT`` would, which is read when the client is imported."""
    monkeypatch.setattr(hub_settings, "ENDPOINT", address)
    monkeypatch.setattr(hub_settings, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def model_hub(monkeypatch, tmp_path):
    """The hub, with an empty cache of its client.

    ``files`` maps file names, the same in every repository, to their content; ``status`` is the status of every response where it is not 200.
    """

    class Hub(http.server.BaseHTTPRequestHandler):
        files, status, requests = {}, 200, []  # the class is defined anew for each test

        def do_HEAD(self):
            self.requests.append(f"{self.command} {self.path}")
            body = self.files.get(self.path.rpartition("/")[2])
            missing = body is None and self.status == 200
            self.send_response(404 if missing else self.status)
            if missing:
                self.send_header("X-Error-Code", "EntryNotFound")
            headers = {"ETag": f'"{hashlib.md5(body or b"").hexdigest()}"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(body or b""))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(self.files.get(self.path.rpartition("/")[2], b""))

        def log_message(self, *_):
            pass

    monkeypatch.setattr(hub_settings, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    set_hub_address(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    server.server_close()
