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
from abaw_ray.core.stage_store import lock
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.lock_file import lock_file
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path)))


def claim(storage, **changes):
    """Write the lock of another process; with host ``elsewhere``, of one on another machine."""
    here = {"host": socket.gethostname(), "machine": lock._machine(), "pid": os.getppid(), "started": 0.0}
    body = {"owner": "other", **here, "heartbeat": 0.0} | changes
    body["machine"] += body["host"] if body["host"] == "elsewhere" else ""
    file = lock_file(storage, "stage/writer.json")
    while file.write(body, file.read()[1]) is None:  # a renewal between both calls
        pass


def test_a_second_writer_is_refused_and_the_message_names_the_first(storage):
    with writer_lock(storage, "stage"), pytest.raises(BusyError, match=str(os.getpid())), writer_lock(storage, "stage"):
        pass


def test_the_lock_is_released_after_the_run_and_after_a_failed_run(storage):
    with pytest.raises(RuntimeError), writer_lock(storage, "stage"):
        raise RuntimeError("stage broke")
    with writer_lock(storage, "stage"):
        pass
    assert storage.files("stage") == {}


def test_the_lock_of_a_dead_writer_is_taken_over(storage):
    claim(storage, pid=2**22 + 1)
    with writer_lock(storage, "stage"):
        pass


def test_another_process_with_the_same_id_is_not_the_writer(storage):
    claim(storage, started=1.0)
    with writer_lock(storage, "stage"):
        pass


@pytest.fixture
def short_intervals(monkeypatch):
    monkeypatch.setattr(lock, "_POLL_INTERVAL", 0.02)
    monkeypatch.setattr(lock, "_HEARTBEAT_INTERVAL", 0.1)
    monkeypatch.setattr(lock, "_STALE_AFTER", 1.0)


def test_a_writer_on_another_machine_that_renews_its_lock_keeps_it(storage, short_intervals, monkeypatch):
    monkeypatch.setattr(lock, "_STALE_AFTER", 60.0)
    claim(storage, host="elsewhere", heartbeat=time.time())
    renewal = threading.Timer(0.2, lambda: claim(storage, host="elsewhere", heartbeat=time.time()))
    renewal.start()
    with pytest.raises(BusyError, match="elsewhere"), writer_lock(storage, "stage"):
        pass
    renewal.join()


@pytest.mark.parametrize("ahead", [0, 1e6, -60], ids=["clocks agree", "its clock is ahead", "its clock is behind"])
def test_the_lock_of_a_writer_on_another_machine_is_taken_over_when_it_is_not_renewed_in_time(storage, short_intervals, ahead, capsys):
    claim(storage, host="elsewhere", heartbeat=time.time() + ahead)
    with writer_lock(storage, "stage"):
        assert storage.read_bytes("stage/writer.json") != b""
    assert re.search(r"on elsewhere wrote here; waiting up to [01] s for its heartbeat", capsys.readouterr().out)


def test_a_live_writer_whose_clock_is_behind_keeps_its_lock(storage, short_intervals, monkeypatch):
    monkeypatch.setattr(lock, "_STALE_AFTER", 60.0)
    monkeypatch.setattr(lock, "_HEARTBEAT_INTERVAL", 30.0)  # on a busy machine, the renewal below may be late
    claim(storage, host="elsewhere", heartbeat=time.time() - 600)
    renewal = threading.Timer(0.05, lambda: claim(storage, host="elsewhere", heartbeat=time.time() - 600))
    renewal.start()
    with pytest.raises(BusyError, match="elsewhere"), writer_lock(storage, "stage"):
        pass
    renewal.join()


def test_the_process_of_a_writer_on_another_machine_of_the_same_name_is_not_looked_up_here(storage, short_intervals):
    claim(storage, machine="another", heartbeat=time.time(), pid=2**22 + 1)
    renewal = threading.Timer(0.2, lambda: claim(storage, machine="another", heartbeat=time.time(), pid=2**22 + 1))
    renewal.start()
    with pytest.raises(BusyError), writer_lock(storage, "stage"):
        pass
    renewal.join()


def test_a_lock_that_expired_long_ago_is_taken_over_at_once(storage, capsys):
    claim(storage, host="elsewhere", heartbeat=1.0)
    with writer_lock(storage, "stage"):
        pass
    assert "waiting" not in capsys.readouterr().out


def test_a_run_whose_lock_was_taken_over_stops(storage, short_intervals, interrupts):
    def work():
        with writer_lock(storage, "stage"):
            claim(storage, host="elsewhere", heartbeat=time.time())
            time.sleep(30)

    began = time.monotonic()
    with pytest.raises(BusyError, match=r"process .* on elsewhere has taken over"):
        work()
    assert time.monotonic() - began < 20, "the block was not interrupted"
    assert json.loads(storage.read_bytes("stage/writer.json"))["owner"] == "other"


def test_a_run_whose_lock_was_taken_over_is_interrupted_again_where_a_library_keeps_the_interrupt(storage, short_intervals, interrupts, monkeypatch):
    monkeypatch.setattr(lock, "_INTERRUPT_INTERVAL", 0.2)
    kept = []

    def work():
        with writer_lock(storage, "stage"):
            claim(storage, host="elsewhere", heartbeat=time.time())
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                kept.append(True)
            time.sleep(30)

    began = time.monotonic()
    with pytest.raises(BusyError, match=r"process .* on elsewhere has taken over"):
        work()
    assert kept and time.monotonic() - began < 20, "the block was not interrupted again"


def test_a_run_in_another_thread_whose_lock_was_taken_over_ends_with_an_error(storage, short_intervals):
    errors = []

    def run():
        try:
            with writer_lock(storage, "stage"):
                claim(storage, host="elsewhere", heartbeat=time.time())
                time.sleep(0.5)
        except BusyError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(errors) == 1 and "has taken over" in errors[0]


def test_ctrl_c_is_not_taken_for_a_lost_lock(storage):
    with pytest.raises(KeyboardInterrupt), writer_lock(storage, "stage"):
        raise KeyboardInterrupt
    assert storage.files("stage") == {}


def test_the_lock_is_taken_when_a_writer_on_another_machine_ends_while_it_is_awaited(storage, short_intervals, monkeypatch):
    monkeypatch.setattr(lock, "_STALE_AFTER", 60.0)
    claim(storage, host="elsewhere", heartbeat=time.time())
    end = threading.Timer(0.2, lambda: storage.delete("stage/writer.json"))
    end.start()
    with writer_lock(storage, "stage"):
        end.join()


def test_a_zombie_writer_is_dead(storage):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    started = psutil.Process(process.pid).create_time()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    claim(storage, pid=process.pid, started=started)
    with writer_lock(storage, "stage"):
        pass
    process.wait()
