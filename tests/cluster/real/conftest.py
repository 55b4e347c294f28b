"""Machines, a store and a cluster for these tests; without ``--cluster`` they are left out."""

import os
from pathlib import Path

import pytest

from tools.clusters.namespaces.clusters import KEYS, Store, local_cluster
from tools.clusters.namespaces.hosts import LAP, Hosts, missing

HERE = Path(__file__).parent
PORT = 8100


def pytest_collection_modifyitems(config, items):
    """Leave these tests out unless they are asked for; where they are and cannot run, say why in one line."""
    mine = [item for item in items if HERE in item.path.parents]
    if not config.getoption("--cluster"):
        config.hook.pytest_deselected(items=mine)
        items[:] = [item for item in items if item not in mine]
    elif mine and (lack := missing()):
        must = os.environ.get("REQUIRE_CLUSTER") == "1"
        pytest.exit(f"the tests on several machines cannot run here: {lack}", returncode=1 if must else 0)


@pytest.fixture(scope="session")
def hosts(tmp_path_factory):
    """A laptop; tests start the other machines."""
    state = tmp_path_factory.mktemp("hosts")
    state.chmod(0o755)
    made = Hosts(state)
    made.env = {"RAY_AUTH_MODE": "token", "TMPDIR": "/tmp/ray"}
    made.up()
    with made.on(LAP):
        yield made
    made.down()


@pytest.fixture(scope="session")
def store(hosts):
    """Ceph on the laptop."""
    folder, address = str(hosts.state / "ceph"), hosts.address(LAP)
    keys = KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]
    hosts.run(LAP, "bash", str(HERE / "ceph.sh"), "start", folder, address, str(PORT), *keys, timeout=180)
    yield Store(f"http://{address}:{PORT}")
    hosts.run(LAP, "bash", str(HERE / "ceph.sh"), "stop", folder)


@pytest.fixture(scope="session")
def cluster(hosts, store):
    """A head and two workers, brought up from ``tools/clusters/local.yaml``."""
    for name in ("n1", "n2", "n3"):
        hosts.boot(name)
    made = local_cluster(hosts, workers=2)
    made.up()
    yield made
    made.down()
