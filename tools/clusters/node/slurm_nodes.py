"""Waits until Ray runs on all nodes of a Slurm job.

    python slurm_nodes.py NODES SECONDS        exit code 1 if some are missing after this time

Run by ``slurm_command.sh`` on the first node; ``ray symmetric-run`` would also count nodes that have died.
"""

import logging
import sys
import time

import ray

POLL_S = 2.0
"""Interval between two looks, in seconds. Ours."""
SHOW_S = 30.0
"""Interval between two lines, in seconds. Ours."""


def wait_for_nodes(nodes: int, seconds: float) -> bool:
    """Wait until so many nodes are alive; returns whether they are after ``seconds``."""
    ends, shown = time.monotonic() + seconds, time.monotonic()
    while (alive := sum(node["Alive"] for node in ray.nodes())) < nodes:
        if time.monotonic() >= ends:
            print(f"Ray runs on {alive} of {nodes} nodes after {seconds:.0f} s", file=sys.stderr, flush=True)
            return False
        if time.monotonic() >= shown + SHOW_S:
            print(f"waiting for Ray on all nodes: {alive} of {nodes}", flush=True)
            shown = time.monotonic()
        time.sleep(POLL_S)
    return True


if __name__ == "__main__":
    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    sys.exit(not wait_for_nodes(int(sys.argv[1]), float(sys.argv[2])))
