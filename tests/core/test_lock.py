import json
import os
import socket
import subprocess
import sys
import time

import psutil
import pytest

from abaw_ray.core.errors import BusyError
from abaw_ray.core.lock import only_writer
from abaw_ray.core.storage import Storage
from abaw_ray.core.stores import StorageConfig


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path)))


def claim(storage, **changes):
    body = {"owner": "other", "host": socket.gethostname(), "pid": os.getppid(), "born": 0.0, "beat": 0.0} | changes
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


def test_a_writer_on_another_machine_counts_while_it_gives_signs_of_life(storage):
    claim(storage, host="elsewhere", beat=4e9)
    with pytest.raises(BusyError, match="elsewhere"), only_writer(storage, "home"):
        pass
    claim(storage, host="elsewhere", beat=1.0)
    with only_writer(storage, "home"):
        pass


def test_a_writer_that_was_killed_and_not_yet_waited_for_is_dead(storage):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    born = psutil.Process(process.pid).create_time()
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    claim(storage, pid=process.pid, born=born)
    with only_writer(storage, "home"):
        pass
    process.wait()
