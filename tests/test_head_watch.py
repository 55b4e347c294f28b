"""A worker without a head shuts itself down after some minutes, and not before."""

import importlib.util
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from timeouts import TIMEOUT_S

ROOT = Path(__file__).parents[1]
PATH = ROOT / "tools/clusters/node/head_watch.py"
PYTHON = f"""#!{sys.executable}
import sys
from pathlib import Path
sys.argv.pop(0)
sys.path.insert(0, str(Path(sys.argv[0]).parent))
import head_watch
head_watch.watch.__kwdefaults__.update(limit_s=1.0, poll_s=0.1)
head_watch.main()
"""
"""A ``python`` that runs the script with a second in place of a quarter of an hour."""
SUDO = """#!/bin/sh
printf '%s\n' "$*" >"$HOME/sudo"
"""


@pytest.fixture
def watcher(monkeypatch):
    """The module, with a clock that only its pauses advance."""
    spec = importlib.util.spec_from_file_location("head_watch", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.now, module.on_pause = [0.0], {}

    def pause(seconds):
        module.now[0] += seconds
        module.on_pause.get(module.now[0], lambda: None)()

    monkeypatch.setattr(module.time, "sleep", pause)
    return module


@pytest.fixture
def head():
    """A port that accepts connections as a head's GCS does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server):
    return f"127.0.0.1:{server.getsockname()[1]}"


def watch(watcher, where, shut_down=lambda: None):
    watcher.watch(where, shut_down, limit_s=900.0, poll_s=30.0, clock=lambda: watcher.now[0])


def test_a_head_is_reachable_while_its_port_is_open(watcher, head):
    where = address(head)
    assert watcher.reachable(where)
    head.close()
    assert not watcher.reachable(where)


def test_the_machine_shuts_down_fifteen_minutes_after_the_last_connection(watcher, head, capsys):
    where, ended = address(head), []
    watcher.on_pause[300.0] = head.close
    watch(watcher, lambda: where, lambda: ended.append(watcher.now[0]))
    assert ended == [270.0 + 900.0]
    assert "is unreachable; this machine shuts down in 15 minutes" in capsys.readouterr().out


def test_a_head_that_returns_in_time_is_no_reason(watcher, head, capsys):
    where, ended = ["127.0.0.1:1"], []
    watcher.on_pause[870.0] = lambda: where.__setitem__(0, address(head))  # a new head, whose command has replaced the address
    watcher.on_pause[1500.0] = head.close
    watch(watcher, lambda: where[0], lambda: ended.append(watcher.now[0]))
    assert ended == [1470.0 + 900.0] and "is reachable again" in capsys.readouterr().out


def test_a_failed_shutdown_is_tried_again(watcher):
    calls = []

    def shut_down():
        calls.append(watcher.now[0])
        if len(calls) < 3:
            raise subprocess.CalledProcessError(1, "shutdown")

    watch(watcher, lambda: "127.0.0.1:1", shut_down)
    assert calls == [900.0, 930.0, 960.0]


def test_a_second_process_gives_the_first_its_address_and_ends(tmp_path, head):
    environment = {"ABAW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, str(PATH), address(head)], env=environment, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert "watching the head" in first.stdout.readline()
            subprocess.run([sys.executable, str(PATH), "127.0.0.1:2"], env=environment, check=True)
            assert (tmp_path / ".head_address").read_text() == "127.0.0.1:2" and first.poll() is None
        finally:
            first.kill()


@pytest.mark.parametrize("file", ["cluster.yaml", "tools/clusters/gcp.yaml"])
def test_the_command_of_the_cluster_file_shuts_the_machine_down(tmp_path, head, file):
    (line,) = (line for line in yaml.safe_load((ROOT / file).read_text())["worker_start_ray_commands"] if "head_watch.py" in line)
    programs = tmp_path / "abaw_ray/.venv/bin"
    programs.mkdir(parents=True)
    shutil.copytree(PATH.parent, tmp_path / "abaw_ray/node")
    for name, text in {"python": PYTHON, "sudo": SUDO}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {"HOME": str(tmp_path), "RAY_HEAD_IP": "127.0.0.1", "PATH": "/usr/bin:/bin"}
    command = line.replace(":6379", f":{head.getsockname()[1]}")
    subprocess.run(["bash", "-c", command], env=environment, check=True, timeout=20)  # it does not wait for the watch
    log = tmp_path / "abaw_ray/head_watch.log"
    _wait_for(lambda: log.exists() and "watching the head" in log.read_text())
    time.sleep(1.5)
    assert not (tmp_path / "sudo").exists(), "the head was there"
    head.close()
    _wait_for((tmp_path / "sudo").exists)
    _wait_for(lambda: (tmp_path / "sudo").read_text() == "-n shutdown -h now\n")


def _wait_for(condition):
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_address_without_a_port_is_refused():
    found = subprocess.run([sys.executable, str(PATH), "10.0.0.1"], capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "usage: head_watch.py HOST:PORT" in found.stderr
