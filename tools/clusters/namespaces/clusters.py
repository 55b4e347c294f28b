"""What the tests do with a cluster and a store: start it, submit to it, look what is in it."""

import io
import socket
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tools.clusters.namespaces.hosts import LAP, PROJECT, Hosts

_T = TypeVar("_T")
TABLES = ("faces", "features", "predictions")
FEW = ["--compute.decode.workers", "2", "--compute.features.workers", "2", "--compute.decode.memory-gb", "0.3", "--compute.features.memory-gb", "0.5"]
"""Two actors a stage, for machines that share two cores and one memory."""
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_DEFAULT_REGION": "us-east-1"}


def wait_until(happened: Callable[[], _T], *, timeout: float, what: str, step: float = 0.5) -> _T:
    """What ``happened`` returns, once it is true."""
    ends = time.monotonic() + timeout
    while time.monotonic() < ends:
        if found := happened():
            return found
        time.sleep(step)
    raise AssertionError(f"not within {timeout:g} s: {what}")


class Store:
    """An S3 server on the laptop, as seen from it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        key, secret, region = KEYS.values()
        self.client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
        self.client.create_bucket(Bucket="abaw")
        self.options = ["--endpoint", endpoint, "--storage.checksums", "when_required"]
        """Of a job that keeps its results here."""

    def written(self, prefix: str) -> dict[str, datetime]:
        """All objects below a prefix, and when each was written."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="abaw", Prefix=prefix)
        return {item["Key"]: item["LastModified"] for page in pages for item in page.get("Contents", [])}

    def read(self, name: str) -> bytes:
        """One object."""
        return self.client.get_object(Bucket="abaw", Key=name)["Body"].read()


class SubmittedTo:
    """A cluster by its file: up, jobs through the tunnel, down."""

    def __init__(self, hosts: Hosts, file: Path) -> None:
        self.hosts, self.file = hosts, file
        self.tunnel: subprocess.Popen | None = None

    def up(self) -> None:
        """From nothing to a cluster, and the tunnel to it; also again, where the head was lost."""
        self._close()
        self.hosts.run(LAP, "ray", "get-auth-token", "--generate")
        said = self.hosts.run(LAP, "ray", "up", "-y", "--no-config-cache", str(self.file), timeout=240)
        (self.hosts.state / "up.log").write_text(said.stdout)
        self.tunnel = self.hosts.start(LAP, "ray", "dashboard", str(self.file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, timeout=60, what="the tunnel to the head")

    def _close(self) -> None:
        if self.tunnel:
            self.tunnel.terminate()
            self.tunnel.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", 8265)) == 0

    def job(self, *command: str, log: Path) -> subprocess.Popen:
        """Submit and follow."""
        submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", ".", "--", *command]
        with log.open("w") as out:
            return self.hosts.start(LAP, *submit, env={"PYTHONUNBUFFERED": "1"}, stdout=out, stderr=subprocess.STDOUT)

    def down(self) -> None:
        """End Ray, and the tunnel."""
        self._close()
        self.hosts.run(LAP, "ray", "down", "-y", str(self.file), timeout=180, check=False)


def workers(hosts: Hosts) -> int:
    """Machines beside the head whose Ray is there; what ``ray status`` counts may be gone for half a minute."""
    alive = ["ray list nodes", "--filter state=ALIVE", "--filter is_head_node=False", "--format json"]
    said = hosts.run("n1", "bash", "-c", f". ~/abaw_ray/node/environment.sh; {' '.join(alive)} 2>/dev/null", check=False).stdout
    return said.count('"node_id"')


def finish(job: subprocess.Popen, log: Path, *, timeout: float = 600) -> str:
    """Wait for a job that ends well; returns what it said."""
    job.wait(timeout=timeout)
    said = log.read_text()
    assert job.returncode == 0 and "exit=0" in said, said[-3000:]
    return said


def parts(store: Store, name: str, stage: str = "faces") -> dict[str, datetime]:
    """What a stage of a run has done of its items, or trials, and when each was written."""
    return {key: when for key, when in store.written(f"{name}/{stage}/").items() if "/outputs/" in key or "/trials/" in key}


def recorded(store: Store, name: str, stage: str = "faces") -> bool:
    """Whether a stage of a run is done."""
    return any("/records/" in key for key in store.written(f"{name}/{stage}/"))


def results(store: Store, name: str) -> dict[str, pa.Table]:
    """The tables of a run, by address below the run's."""
    found = {}
    for key in store.written(f"{name}/"):
        short = key.removeprefix(f"{name}/")
        if short.startswith(TABLES) and short.endswith(".parquet"):
            found[short] = pq.read_table(io.BytesIO(store.read(key)))
    return found


def assert_same(found: dict[str, pa.Table], usual: dict[str, pa.Table]) -> None:
    """Two runs left the same tables."""
    assert found.keys() == usual.keys()
    assert [name for name in usual if not usual[name].equals(found[name])] == []


def local_cluster(hosts: Hosts, workers: int, *, worker_options: str = "") -> SubmittedTo:
    """``tools/clusters/local.yaml`` with these machines' addresses and the store's keys, as its owner would fill it in."""
    config = yaml.safe_load((PROJECT / "tools/clusters/local.yaml").read_text())
    addresses = [hosts.address(f"n{number}") for number in range(1, workers + 2)]
    config["provider"] |= {"head_ip": addresses[0], "worker_ips": addresses[1:]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.state / "id")}
    config |= {"min_workers": workers, "max_workers": workers}
    keys = hosts.state / "credentials"
    keys.write_text(f"[default]\naws_access_key_id={KEYS['AWS_ACCESS_KEY_ID']}\naws_secret_access_key={KEYS['AWS_SECRET_ACCESS_KEY']}\n")
    config["file_mounts"]["~/.aws/credentials"] = str(keys)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):  # several machines share this one's memory
        more = worker_options if key.startswith("worker") else ""
        config[key] = [line.replace("ray start", f"ray start --object-store-memory=150000000 {more}") for line in config[key]]
    file = hosts.state / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    return SubmittedTo(hosts, file)
