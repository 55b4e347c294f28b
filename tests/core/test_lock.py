import json
import os
import re
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from abaw_ray.core.errors import BusyError
from abaw_ray.core.storage import lock
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.lock import only_writer
from abaw_ray.core.storage.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path)))


def claim(storage, **changes):
    """That of another process; one that is called ``elsewhere`` is on another machine."""
    body = {"owner": "other", "host": socket.gethostname(), "machine": lock._machine(), "pid": os.getppid(), "born": 0.0, "heartbeat": 0.0} | changes
    body["machine"] += body["host"] if body["host"] == "elsewhere" else ""
    storage.write_bytes("home/writer.json", json.dumps(body).encode())


def test_a_second_writer_is_refused_and_told_who_is_there(storage):
    with only_writer(storage, "home"), pytest.raises(BusyError, match=str(os.getpid())), only_writer(storage, "home"):
        pass


def test_the_claim_is_gone_after_the_run_also_when_it_failed(storage):
    with pytest.raises(RuntimeError), only_writer(storage, "home"):
        raise RuntimeError("stage broke")
    with only_writer(storage, "home"):
        pass
    assert storage.files("home") == {}


def test_a_dead_writers_claim_is_taken_over(storage):
    claim(storage, pid=2**22 + 1)
    with only_writer(storage, "home"):
        pass


def test_a_reused_process_number_is_not_taken_for_the_writer(storage):
    claim(storage, born=1.0)
    with only_writer(storage, "home"):
        pass


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lock, "_LOOK", 0.02)
    monkeypatch.setattr(lock, "_BEAT", 0.1)
    monkeypatch.setattr(lock, "_STALE", 1.0)


def test_a_writer_on_another_machine_that_gives_a_sign_of_life_is_left_alone(storage, quick, monkeypatch):
    monkeypatch.setattr(lock, "_STALE", 60.0)
    claim(storage, host="elsewhere", heartbeat=time.time())
    sign = threading.Timer(0.2, lambda: claim(storage, host="elsewhere", heartbeat=time.time()))
    sign.start()
    with pytest.raises(BusyError, match="elsewhere"), only_writer(storage, "home"):
        pass
    sign.join()


@pytest.mark.parametrize("ahead", [0, 1e6, -60], ids=["clocks agree", "its clock is ahead", "its clock is behind"])
def test_one_on_another_machine_that_gives_none_is_followed_once_it_has_had_its_time(storage, quick, ahead, capsys):
    claim(storage, host="elsewhere", heartbeat=time.time() + ahead)
    with only_writer(storage, "home"):
        assert storage.read_bytes("home/writer.json") != b""
    assert re.search(r"on elsewhere wrote here; waiting up to [01] s for a sign of life", capsys.readouterr().out)


def test_one_whose_clock_is_behind_and_that_lives_is_left_alone(storage, quick):
    claim(storage, host="elsewhere", heartbeat=time.time() - 600)
    sign = threading.Timer(0.05, lambda: claim(storage, host="elsewhere", heartbeat=time.time() - 600))
    sign.start()
    with pytest.raises(BusyError, match="elsewhere"), only_writer(storage, "home"):
        pass
    sign.join()


def test_one_on_another_machine_of_the_same_name_is_not_looked_for_here(storage, quick):
    claim(storage, machine="another", heartbeat=time.time(), pid=2**22 + 1)
    sign = threading.Timer(0.2, lambda: claim(storage, machine="another", heartbeat=time.time(), pid=2**22 + 1))
    sign.start()
    with pytest.raises(BusyError), only_writer(storage, "home"):
        pass
    sign.join()


def test_a_writer_that_was_followed_by_another_leaves_it_alone(storage, monkeypatch):
    monkeypatch.setattr(lock, "_BEAT", 0.02)
    with only_writer(storage, "home"):
        claim(storage)
        time.sleep(0.2)
        assert json.loads(storage.read_bytes("home/writer.json"))["owner"] == "other"
    assert json.loads(storage.read_bytes("home/writer.json"))["owner"] == "other"


def test_one_on_another_machine_that_was_silent_for_long_is_not_waited_for(storage, capsys):
    claim(storage, host="elsewhere", heartbeat=1.0)
    with only_writer(storage, "home"):
        pass
    assert "waiting" not in capsys.readouterr().out


def test_of_two_that_claim_at_once_the_first_leaves_it_to_the_other(storage, monkeypatch):
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: claim(storage, host="elsewhere", heartbeat=1.0))
    with pytest.raises(BusyError, match="elsewhere"), only_writer(storage, "home"):
        pass
    assert json.loads(storage.read_bytes("home/writer.json"))["owner"] == "other"


def test_one_on_another_machine_that_ends_meanwhile_is_followed(storage, quick, monkeypatch):
    monkeypatch.setattr(lock, "_STALE", 60.0)
    claim(storage, host="elsewhere", heartbeat=time.time())
    end = threading.Timer(0.2, lambda: storage.delete("home/writer.json"))
    end.start()
    with only_writer(storage, "home"):
        end.join()


def test_a_writer_that_was_killed_and_not_yet_waited_for_is_dead(storage):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    born = psutil.Process(process.pid).create_time()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    claim(storage, pid=process.pid, born=born)
    with only_writer(storage, "home"):
        pass
    process.wait()
