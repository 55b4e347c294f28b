"""How long a raylet may be stopped, or short of CPU time, before Ray declares its machine dead: two raylets on this machine.

python -m tools.bench.health
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import tyro

from abaw_ray.core.progress import echo, redirect_library_output
from tools.bench.table import metadata

_ENVIRONMENT = Path(__file__).parents[1] / "clusters" / "node" / "environment.sh"
_POLL_S = 0.1
"""Seconds between two reads of the nodes' states."""
_AFTER_S = 15.0
"""Seconds for which a raylet that continues is watched."""


def cluster_settings() -> dict[str, str]:
    """The environment variables of the clusters' machines that affect health checks and keepalives."""
    return dict(re.findall(r"^export (RAY_(?:grpc_client|health_check)_\w+)=(\d+)$", _ENVIRONMENT.read_text(), re.MULTILINE))


def alive(node_id: str) -> bool:
    """Whether Ray counts a node as alive."""
    import ray

    return any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)


def seconds_to_death(node_id: str, seconds: float) -> float | None:
    """Seconds after which a node is declared dead; None where it is not within this time."""
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        if not alive(node_id):
            return passed
        time.sleep(_POLL_S)
    return None


def stop_raylet(cluster: Any, seconds: float) -> str:
    """Stop the raylet of a new node for a time; returns what became of the node."""
    node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    time.sleep(8)  # health checks begin after a delay of five seconds
    raylet = node.all_processes["raylet"][0].process
    raylet.send_signal(signal.SIGSTOP)
    try:
        died = seconds_to_death(node.node_id, seconds)
    finally:
        raylet.send_signal(signal.SIGCONT)
    later = None if died is not None else seconds_to_death(node.node_id, _AFTER_S)
    cluster.remove_node(node, allow_graceful=False)
    if died is not None:
        return f"declared dead after {died:.1f} s"
    return "stayed alive" if later is None else f"declared dead {later:.1f} s after it continued"


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that compute without end, at the priority of this one, while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(
    settings: Literal["ray", "cluster"] = "ray", stops: tuple[float, ...] = (1, 2, 5, 10, 20, 40, 90), busy: int = 8, busy_s: float = 120.0
) -> int:
    """Print what becomes of a machine whose raylet is stopped, and of one whose cores are busy.

    Args:
        settings: Ray's defaults, or the settings of the cluster files.
        stops: Times for which a raylet is stopped, in seconds.
        busy: Number of processes that compute, at the raylet's priority.
        busy_s: Time for which they compute, in seconds.
    """
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, redirect_library_output(Path(folder) / "ray.log"):
        # Ray reads these when it is imported.
        os.environ |= {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled"} | (cluster_settings() if settings == "cluster" else {})
        import ray
        from ray.cluster_utils import Cluster

        arguments = {"num_cpus": 0, "object_store_memory": 80 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, connect=True, head_node_args=arguments)
        try:
            for seconds in stops:
                echo(f"{settings}: raylet stopped for {seconds:g} s: {stop_raylet(cluster, seconds)}")
            node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
            with busy_processes(busy):
                died = seconds_to_death(node.node_id, busy_s)
            echo(f"{settings}: {busy} busy processes for {busy_s:g} s: {'stayed alive' if died is None else f'declared dead after {died:.1f} s'}")
        finally:
            ray.shutdown()
            cluster.shutdown()
    echo(str(metadata()))
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, prog="python -m tools.bench.health"))
