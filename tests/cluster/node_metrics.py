"""Reads the metrics that the agent of this process's Ray node exports for Prometheus."""

import http.client
import re
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest
import ray
from timeouts import TIMEOUT_S

_TAGS = ("stage", "run", "outcome", "rank")


@contextmanager
def metrics_collected():
    """A Ray that is started while the block runs collects metrics, which a local one does not by default.

    Processes send them every second instead of every ten: a rank that ends earlier never sends its last ones. The agent drops a gauge that was not
    sent for two such intervals, so the gauges of a process are read while it lives (`metrics_polled`).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_enable_metrics_collection", "1")
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        yield


def read_metrics():
    """Values of the package's metrics by name and tags, ``abaw_ray_items_total{stage=words,run=a,outcome=done}``, summed over the workers."""
    node = ray.nodes()[0]
    with urllib.request.urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    values = {}
    for line in lines:
        if match := re.fullmatch(r"ray_(abaw_ray_\w+)\{(.*)\} (\S+)", line):
            tags = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            name = f"{match[1]}{{{','.join(f'{tag}={tags[tag]}' for tag in _TAGS if tag in tags)}}}"
            values[name] = values.get(name, 0.0) + float(match[3])
    return values


def wait_for_metrics(complete):
    """The metrics once they satisfy the condition; processes send theirs to the agent every second."""
    deadline = time.monotonic() + TIMEOUT_S
    while not complete(values := read_metrics()):
        assert time.monotonic() < deadline, values
        time.sleep(0.5)
    return values


@contextmanager
def metrics_polled():
    """A list, to which a thread adds what the agent exports, twice per second while the block runs."""
    polled, ended = [], threading.Event()

    def poll():
        while not ended.wait(0.5):
            with suppress(OSError, http.client.HTTPException):  # the agent of a busy machine may time out; the next poll reads the values
                polled.append(read_metrics())

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield polled
    finally:
        ended.set()
        thread.join()
