"""The cloud's notice that it takes this machine back, turned into Ray's own word for it: the node drains.

    python spot_watch.py aws|gcp          started by a cluster file on every spot worker; ends when it has spoken

A draining node gets no new work, a training hears of it and writes a checkpoint before the machine goes, and the autoscaler brings another
machine. AWS gives about two minutes' notice, Google Cloud thirty seconds; machines on Kubernetes drain by themselves.

Needs nothing but Python until there is a notice, and Ray then. One a machine: a second one ends at once.
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

POLL = 5.0
"""Seconds between two looks; the clouds' own advice."""
TIMEOUT = 2.0
"""Seconds that the metadata server, which is on the same machine, may take."""


def ask(url: str, headers: dict[str, str], method: str = "GET") -> str:
    """What a metadata server answers."""
    request = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return answer.read().decode()


def aws(base: str = "http://169.254.169.254") -> float | None:
    """Seconds until EC2 takes this machine back; None where it has no such plan."""
    token = ask(f"{base}/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, "PUT")
    try:
        plan = json.loads(ask(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token}))
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    if plan["action"] == "hibernate":
        return 0.0
    at = datetime.strptime(plan["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)


def gcp(base: str = "http://metadata.google.internal") -> float | None:
    """Seconds until Compute Engine takes this machine back; None where it has no such plan."""
    said = ask(f"{base}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return 30.0 if said.strip() == "TRUE" else None


CLOUDS = {"aws": aws, "gcp": gcp}


def drain(seconds: float) -> None:
    """Tell Ray that this node goes in so many seconds.

    Raises:
        CalledProcessError: Ray refused; ConnectionError: there is no Ray here.
    """
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    try:
        here = ray.get_runtime_context()
        node, address = here.get_node_id(), here.gcs_address
    finally:
        ray.shutdown()  # or no later try could connect
    why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the cloud takes this machine back"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", address, "--node-id", node, *why]
    subprocess.run([*command, "--deadline-remaining-seconds", str(int(seconds))], check=True)


def watch(notice: Callable[[], float | None], drain: Callable[[float], None], *, poll: float = POLL) -> None:
    """Look until there is a notice, and drain, once it succeeds; what goes wrong is said once and tried again."""
    trouble = ""
    while True:
        try:
            seconds = notice()
            if seconds is not None:
                echo(f"this machine goes in {seconds:.0f} s: draining")
                drain(seconds)
                echo("drained")
                return
            now = ""
        except Exception as error:  # whatever Ray or the network may raise: it must live as long as the machine
            now = f"{type(error).__name__}: {' '.join(str(error).split())}; trying again"
        if now and now != trouble:
            echo(now)
        trouble = now
        time.sleep(poll)


def echo(text: str) -> None:
    """A line for the log, with the time."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


def main() -> None:
    """Watch, if no other watcher does on this machine."""
    if len(sys.argv) != 2 or sys.argv[1] not in CLOUDS:
        sys.exit(f"say which cloud: {' or '.join(CLOUDS)}")
    with (Path(os.environ.get("ABAW_HOME", Path.home())) / ".spot_watch.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        echo(f"watching for {sys.argv[1]}'s notice")
        watch(CLOUDS[sys.argv[1]], drain)


if __name__ == "__main__":
    main()
