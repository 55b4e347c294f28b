"""A Ray cluster on namespace machines, and an S3 store: starts them, submits jobs, reads results."""

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

from tools.clusters.namespaces.hosts import CLIENT, PROJECT, Hosts

_T = TypeVar("_T")
CEPH = Path(__file__).with_name("ceph.sh")
TABLES = ("faces", "features", "predictions")
"""Stages whose Parquet outputs are compared between runs."""
SMALL_COMPUTE = [
    *("--compute.decode.workers", "2", "--compute.decode.memory-gb", "0.3"),
    *("--compute.features.workers", "2", "--compute.features.memory-gb", "0.5"),
]
"""Two actors per stage, for machines that share two cores and one memory."""
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testsecret", "AWS_DEFAULT_REGION": "us-east-1"}


def wait_until(condition: Callable[[], _T], *, timeout: float, what: str, interval: float = 0.5, log: Path | None = None) -> _T:
    """Poll ``condition`` until its result is true and return it; AssertionError after ``timeout`` seconds, with the end of ``log``."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(interval)
    raise AssertionError(f"timeout after {timeout:g} s: {what}" + (f"\n{log.read_text()[-3000:]}" if log else ""))


class Store:
    """An S3 server on the client, and a boto3 client of it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        key, secret, region = KEYS.values()
        self.client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
        self.client.create_bucket(Bucket="abaw")
        self.options = ["--endpoint", endpoint, "--storage.checksums", "when_required"]
        """Options of a job that stores its results here."""

    def list_objects(self, prefix: str) -> dict[str, datetime]:
        """Return all objects below a prefix with their times of writing."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="abaw", Prefix=prefix)
        return {item["Key"]: item["LastModified"] for page in pages for item in page.get("Contents", [])}

    def read(self, name: str) -> bytes:
        """Return the bytes of one object."""
        return self.client.get_object(Bucket="abaw", Key=name)["Body"].read()


class RayCluster:
    """A Ray cluster defined by a cluster file: ``ray up``, jobs through the tunnel, ``ray down``."""

    def __init__(self, hosts: Hosts, file: Path) -> None:
        self.hosts, self.file = hosts, file
        self.tunnel: subprocess.Popen | None = None

    def up(self) -> None:
        """Start the cluster and the tunnel to it; can be repeated after the head was lost."""
        self._close_tunnel()
        self.hosts.run(CLIENT, "ray", "get-auth-token", "--generate")
        done = self.hosts.run(CLIENT, "ray", "up", "-y", "--no-config-cache", str(self.file), timeout=240)
        (self.hosts.state / "up.log").write_text(done.stdout)
        self.tunnel = self.hosts.popen(CLIENT, "ray", "dashboard", str(self.file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._reachable, timeout=60, what="the tunnel to the head")

    def _close_tunnel(self) -> None:
        if self.tunnel:
            self.tunnel.terminate()
            self.tunnel.wait()

    def _reachable(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", 8265)) == 0

    def submit(self, *command: str, log: Path) -> subprocess.Popen:
        """Submit a job and follow its output into ``log``; returns the process that follows."""
        ray_submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", ".", "--", *command]
        with log.open("w") as out:
            return self.hosts.popen(CLIENT, *ray_submit, env={"PYTHONUNBUFFERED": "1"}, stdout=out, stderr=subprocess.STDOUT)

    def down(self) -> None:
        """Close the tunnel and stop Ray."""
        self._close_tunnel()
        self.hosts.run(CLIENT, "ray", "down", "-y", str(self.file), timeout=180, check=False)


def alive_workers(hosts: Hosts) -> int:
    """Return the number of alive nodes other than the head; ``ray status`` still counts nodes that have been dead for half a minute."""
    query = ["ray list nodes", "--filter state=ALIVE", "--filter is_head_node=False", "--format json"]
    nodes = hosts.run("n1", "bash", "-c", f". ~/abaw_ray/node/environment.sh; {' '.join(query)} 2>/dev/null", check=False).stdout
    return nodes.count('"node_id"')


def wait_for_success(job: subprocess.Popen, log: Path, *, timeout: float = 600) -> str:
    """Wait for a job, assert that it succeeded, and return its log."""
    job.wait(timeout=timeout)
    text = log.read_text()
    assert job.returncode == 0 and "exit=0" in text, text[-3000:]
    return text


def outputs(store: Store, name: str, stage: str = "faces") -> dict[str, datetime]:
    """Return the output objects of a stage's items or trials with their times of writing."""
    return {key: when for key, when in store.list_objects(f"{name}/{stage}/").items() if "/outputs/" in key or "/trials/" in key}


def has_record(store: Store, name: str, stage: str = "faces") -> bool:
    """Return whether a stage of a run is complete."""
    return any("/records/" in key for key in store.list_objects(f"{name}/{stage}/"))


def results(store: Store, name: str) -> dict[str, pa.Table]:
    """Return the tables of a run by their paths relative to the run's folder; the index of a store is none, it has times of writing."""
    tables = {}
    for key in store.list_objects(f"{name}/"):
        path = key.removeprefix(f"{name}/")
        if path.startswith(TABLES) and "/outputs/" in path and path.endswith(".parquet"):
            tables[path] = pq.read_table(io.BytesIO(store.read(key)))
    return tables


def assert_same_tables(actual: dict[str, pa.Table], expected: dict[str, pa.Table]) -> None:
    """Assert that two runs have the same tables."""
    assert actual.keys() == expected.keys()
    assert [name for name in expected if not expected[name].equals(actual[name])] == []


def local_cluster(hosts: Hosts, workers: int, *, worker_options: str = "") -> RayCluster:
    """Return a cluster defined by ``tools/clusters/local.yaml``, with these machines' addresses and the store's keys filled in."""
    config = yaml.safe_load((PROJECT / "tools/clusters/local.yaml").read_text())
    addresses = [hosts.address(f"n{number}") for number in range(1, workers + 2)]
    config["provider"] |= {"head_ip": addresses[0], "worker_ips": addresses[1:]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.state / "id")}
    config |= {"min_workers": workers, "max_workers": workers}
    keys = hosts.state / "credentials"
    keys.write_text(f"[default]\naws_access_key_id={KEYS['AWS_ACCESS_KEY_ID']}\naws_secret_access_key={KEYS['AWS_SECRET_ACCESS_KEY']}\n")
    config["file_mounts"]["~/.aws/credentials"] = str(keys)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):  # all machines share one memory
        options = worker_options if key.startswith("worker") else ""
        config[key] = [line.replace("ray start", f"ray start --object-store-memory=150000000 {options}") for line in config[key]]
    file = hosts.state / "cluster.yaml"
    file.write_text(yaml.safe_dump(config))
    return RayCluster(hosts, file)
