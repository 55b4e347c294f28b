import hashlib
import http.server
import threading

import huggingface_hub.constants as hub_settings
import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.faces.detection import weights
from abaw_ray.faces.detection.weights import YUNET_FILE, YUNET_HUB, cache_folder, yunet_weights

GOOD = b"the network that was measured"


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """An empty cache of ours and of the hub's client, and a hash for which ``GOOD`` is the right file; returns where it is kept."""
    monkeypatch.setenv("ABAW_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "YUNET_SHA256", hashlib.sha256(GOOD).hexdigest())
    monkeypatch.setattr(hub_settings, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache" / f"{hashlib.sha256(GOOD).hexdigest()}.onnx"


def move_hub(monkeypatch, address):
    """As ``HF_ENDPOINT`` would, which is read when the client is imported."""
    monkeypatch.setattr(hub_settings, "ENDPOINT", address)
    monkeypatch.setattr(hub_settings, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(monkeypatch):
    """A model hub on loopback: gives what ``content`` holds, or answers ``status``; notes every request."""

    class Hub(http.server.BaseHTTPRequestHandler):
        content, status, asked = GOOD, 200, []  # of a class made anew for each test

        def do_HEAD(self):
            self.asked.append(f"{self.command} {self.path}")
            self.send_response(self.status)
            for name, value in {"ETag": '"e1"', "X-Repo-Commit": "0" * 40, "Content-Length": str(len(self.content))}.items():
                self.send_header(name, value)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(self.content)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    move_hub(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def store(object_store):
    """A bucket on loopback; puts and removes objects."""
    object_store.create_bucket(Bucket="models")
    return object_store


def refused(where):
    with pytest.raises(ConfigError) as caught:
        yunet_weights(where)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(f"set detector.weights to the path of {YUNET_FILE} (SHA-256 8f2383e4dd3c...), or use --detector haar")
    return said


def test_a_local_file_is_read_where_it_is(tmp_path, kept):
    (tmp_path / "yunet.onnx").write_bytes(GOOD)
    assert yunet_weights(str(tmp_path / "yunet.onnx")) == yunet_weights(f"file://{tmp_path}/yunet.onnx") == GOOD
    assert not kept.exists()


def test_a_local_path_that_is_not_the_file_is_refused_and_nothing_else_is_taken_for_it(tmp_path, kept, hub):
    kept.parent.mkdir()
    kept.write_bytes(GOOD)
    (tmp_path / "other.onnx").write_bytes(b"another network")
    assert "other.onnx: is another file, its SHA-256 is" in refused(str(tmp_path / "other.onnx"))
    assert "is a folder" in refused(str(tmp_path))
    assert "nowhere.onnx: there is no such file" in refused("nowhere.onnx")
    assert "there is no such file" in refused("models/nowhere.onnx")
    assert hub.asked == []


@pytest.mark.parametrize("where", ["", YUNET_HUB, "somebody/copies"])
def test_the_hub_is_asked_once_and_then_the_kept_copy_serves_every_name(hub, kept, where):
    assert yunet_weights(where) == GOOD == kept.read_bytes()
    asked = len(hub.asked)
    assert f"GET /{where or YUNET_HUB}/resolve/main/{YUNET_FILE}" in hub.asked
    hub.status = 500
    assert yunet_weights(where) == yunet_weights("another/name") == yunet_weights("s3://no-such-bucket/yunet.onnx") == GOOD
    assert len(hub.asked) == asked


def test_a_kept_copy_that_was_damaged_is_fetched_again(hub, kept):
    kept.parent.mkdir()
    kept.write_bytes(GOOD[:-1])
    assert yunet_weights("") == GOOD == kept.read_bytes()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_what_the_hubs_own_client_has_kept_is_used_without_network(hub, kept):
    yunet_weights("")
    kept.unlink()
    hub.asked.clear()
    assert yunet_weights("") == GOOD
    assert hub.asked == []


def test_a_hub_that_does_not_answer_well_is_asked_once_and_not_again_and_again(hub, kept):
    hub.status = 503
    assert f"{YUNET_HUB}: neither a file here nor given by the model hub (" in refused("")
    assert len([line for line in hub.asked if YUNET_FILE in line]) == 1 and not kept.exists()


def test_another_file_of_the_hub_is_refused_and_not_kept(hub, kept):
    hub.content = b"a newer network"
    assert "is another file" in refused("")
    assert not kept.exists()


def test_without_a_network_or_where_it_is_forbidden_the_error_says_so(monkeypatch, hub):
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused("")
    assert hub.asked == []
    monkeypatch.setattr(hub_settings, "HF_HUB_OFFLINE", False)
    move_hub(monkeypatch, "http://127.0.0.1:9")  # nobody listens there
    assert "refused" in refused("")


def test_an_object_store_is_read_once(store, kept):
    store.put_object(Bucket="models", Key="faces/yunet.onnx", Body=GOOD)
    assert "there is no such file" in refused("s3://models/gone.onnx")
    assert yunet_weights("s3://models/faces/yunet.onnx") == GOOD == kept.read_bytes()
    store.delete_object(Bucket="models", Key="faces/yunet.onnx")
    assert yunet_weights("s3://models/faces/yunet.onnx") == GOOD


def test_a_folder_that_cannot_be_written_costs_the_next_fetch_and_no_more(hub, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ABAW_RAY_CACHE", str(tmp_path / "file" / "cache"))
    assert yunet_weights("") == GOOD
    assert "cannot be kept there" in capsys.readouterr().out


def test_the_folder_of_kept_files_follows_the_usual_variables(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("ABAW_RAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "shared"))
    assert cache_folder() == tmp_path / "shared" / "abaw_ray"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "abaw_ray"
