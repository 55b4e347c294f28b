"""Options of the test run, and the shapes in the signatures checked while it lasts."""

import os
from pathlib import Path

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}  # Ray reads them when it is imported

import boto3
import pytest
from jaxtyping import install_import_hook
from moto.server import ThreadedMotoServer

CHECKED = ["abaw_ray.media", "abaw_ray.faces", "abaw_ray.training", "abaw_ray.encoder", "abaw_ray.features", "abaw_ray.fusion", "abaw_ray.report"]
"""Packages of which every annotated shape and type is checked at every call (in this process; not in workers of the engine)."""
install_import_hook(CHECKED, "typechecks.strict")


def pytest_addoption(parser):
    parser.addoption("--clips", metavar="FOLDER", help="folder of real clips; without it the tests in tests/clips are left out")
    parser.addoption("--cluster", action="store_true", help="run the tests in tests/cluster/real, on several machines; without it they are left out")
    parser.addoption("--yunet", metavar="FILE", help="YuNet's weights for the tests on clips; without it they use Haar, at a lower bar")


def pytest_collection_modifyitems(config, items):
    """Leave out what needs clips where none are given: left out, not skipped, so that a skip is never overlooked."""
    if config.getoption("--clips"):
        return
    left_out = [item for item in items if item.get_closest_marker("clips")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def clips(pytestconfig) -> Path:
    """The folder of real clips."""
    folder = Path(pytestconfig.getoption("--clips"))
    assert folder.is_dir(), f"--clips {folder}: there is no such folder"
    return folder


@pytest.fixture(scope="session")
def yunet(pytestconfig) -> str:
    """Path of YuNet's weights, or nothing: then Haar is used."""
    return pytestconfig.getoption("--yunet") or ""


@pytest.fixture
def object_store(monkeypatch):
    """An empty S3 server on loopback, as the environment's endpoint; a client of it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    yield boto3.client("s3", region_name="us-east-1")
    server.stop()
