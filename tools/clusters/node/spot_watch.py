"""Drains this Ray node when the cloud announces that it will interrupt the spot machine.

    python spot_watch.py aws|gcp          started by a cluster file on every spot worker; ends after a successful drain

A draining node gets no new work; training ranks poll for draining nodes and write a checkpoint before the machine is terminated; the autoscaler
starts a replacement. AWS gives about two minutes' notice, Google Cloud thirty seconds; Kubernetes drains its pods itself.

Uses only the standard library until there is a notice, then Ray's command line. One process per machine: a second one exits at once.
"""

import fcntl
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

POLL_S = 5.0
"""Interval between two requests to the metadata server; AWS recommends 5 s."""
TIMEOUT_S = 2.0
"""Timeout of a request to the metadata server, which runs on the same machine."""


def request(url: str, headers: dict[str, str], method: str = "GET") -> str:
    """Return the metadata server's response."""
    query = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(query, timeout=TIMEOUT_S) as response:
        return response.read().decode()


def aws_notice(base: str = "http://169.254.169.254") -> float | None:
    """Return the seconds until EC2 interrupts this machine; None without a notice."""
    token = request(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    try:
        action = json.loads(request(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    if action["action"] == "hibernate":  # EC2 hibernates without delay
        return 0.0
    at = datetime.strptime(action["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)


def gcp_notice(base: str = "http://metadata.google.internal") -> float | None:
    """Return the seconds until Compute Engine preempts this machine; None without a notice."""
    preempted = request(f"{base}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return 30.0 if preempted.strip() == "TRUE" else None


NOTICES = {"aws": aws_notice, "gcp": gcp_notice}


def drain(seconds: float) -> None:
    """Drain this Ray node; ``seconds`` is the time until the machine is interrupted.

    Raises:
        CalledProcessError: Ray rejected the drain.
        ConnectionError: no Ray runs on this machine.
    """
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level=40)  # logging.ERROR
    try:
        context = ray.get_runtime_context()
        node, address = context.get_node_id(), context.gcs_address
    finally:
        ray.shutdown()  # a second ray.init() in this process would fail
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the cloud interrupts this spot machine"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node, *reason]
    subprocess.run([*command, "--deadline-remaining-seconds", str(int(seconds))], check=True)


def watch(notice: Callable[[], float | None], drain: Callable[[float], None], *, poll_s: float = POLL_S) -> None:
    """Poll for a notice every ``poll_s`` seconds, drain the node and return. Errors are retried; consecutive equal ones are logged once."""
    last_error = ""
    while True:
        try:
            seconds = notice()
            if seconds is not None:
                log(f"spot interruption in {seconds:.0f} s: draining this node")
                drain(seconds)
                log("drained")
                return
            error_text = ""
        except Exception as error:  # Ray and the network raise many types, and none may end this process
            error_text = f"{type(error).__name__}: {' '.join(str(error).split())}; retrying"
        if error_text and error_text != last_error:
            log(error_text)
        last_error = error_text
        time.sleep(poll_s)


def log(text: str) -> None:
    """Print a line with the time."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


def main() -> None:
    """Watch for a notice, unless another process on this machine already does."""
    if len(sys.argv) != 2 or sys.argv[1] not in NOTICES:
        sys.exit(f"usage: spot_watch.py {'|'.join(NOTICES)}")
    with (Path(os.environ.get("ABAW_HOME", Path.home())) / ".spot_watch.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        log(f"watching for a spot interruption notice ({sys.argv[1]})")
        watch(NOTICES[sys.argv[1]], drain)


if __name__ == "__main__":
    main()
