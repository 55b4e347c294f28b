"""Machines, a store and a cluster for these tests, which are deselected without ``--cluster``."""

import os
import subprocess
from pathlib import Path

import pytest
from timeouts import TIMEOUT_S

from tools.clusters.namespaces.clusters import CEPH, KEYS, Store, local_cluster
from tools.clusters.namespaces.hosts import CLIENT, Hosts, missing_requirements

HERE = Path(__file__).parent
PORT = 8100


def pytest_collection_modifyitems(config, items):
    """Deselect these tests without ``--cluster``; exit with the reason if they cannot run on this machine."""
    selected = [item for item in items if HERE in item.path.parents]
    for item in selected:
        # Machines are switched off and connections cut: processes, sockets and transports are never closed.
        item.add_marker(pytest.mark.filterwarnings("default"))
    if not config.getoption("--cluster"):
        config.hook.pytest_deselected(items=selected)
        items[:] = [item for item in items if item not in selected]
    elif selected and (reason := missing_requirements()):
        required = os.environ.get("REQUIRE_CLUSTER") == "1"
        pytest.exit(f"the tests on several machines cannot run on this machine: {reason}", returncode=1 if required else 0)


@pytest.fixture(scope="session")
def hosts(request, tmp_path_factory):
    """The client; tests boot the other machines."""
    state = tmp_path_factory.mktemp("hosts")
    state.chmod(0o755)
    net = request.config.getoption("--cluster-net")
    hosts = Hosts(state, net=net, prefix=f"abaw{net.rpartition('.')[0].rpartition('.')[2]}")
    hosts.env = {"RAY_AUTH_MODE": "token", "TMPDIR": "/tmp/ray"}
    hosts.create()
    with hosts.in_network_of(CLIENT):
        yield hosts
    hosts.remove()


@pytest.fixture(scope="session")
def store(hosts):
    """Ceph on the client."""
    folder, address = str(hosts.state / "ceph"), hosts.address(CLIENT)
    keys = KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]
    hosts.run(CLIENT, "bash", str(CEPH), "start", folder, address, str(PORT), *keys, timeout=TIMEOUT_S)
    yield Store(f"http://{address}:{PORT}")
    hosts.run(CLIENT, "bash", str(CEPH), "stop", folder)


@pytest.fixture(scope="session")
def cluster(hosts, store):
    """A head and two workers, started from ``tools/clusters/local.yaml``."""
    for name in ("n1", "n2", "n3"):
        hosts.boot(name)
    cluster = local_cluster(hosts, workers=2)
    cluster.up()
    yield cluster
    cluster.down()


@pytest.fixture
def full_disk(hosts):
    """Return a function that fills the disk of n3 and keeps it full."""
    file = "/tmp/ray/fill-disk"
    nearly = "$(($(stat -f -c '%a * %S' /tmp/ray) - (32 << 20)))"  # fallocate takes all or nothing, so the last 32 MiB are written byte by byte

    writers = []

    def full_disk():
        hosts.run("n3", "bash", "-c", f"fallocate -l {nearly} {file}; yes >> {file}", check=False)
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        writers.append(hosts.popen("n3", "bash", "-c", f"while sleep 0.2; do yes >> {file}; done", **silent))

    yield full_disk
    hosts.run("n3", "pkill", "-f", file, check=False)  # finds nothing if the test failed before
    for writer in writers:
        writer.wait(timeout=TIMEOUT_S)
    hosts.run("n3", "rm", "-f", file)
