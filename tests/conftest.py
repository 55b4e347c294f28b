"""Command-line options, shared fixtures, and checks of annotated shapes while tests run."""

import os
import signal
from pathlib import Path

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}  # Ray reads them at import
os.environ |= {"RAY_task_oom_retries": "3"}  # as in ``RaySession``, which a process may start after another Ray: it is read once
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a thread of an abandoned stage would start another Ray, which all later modules would use

import boto3
import hypothesis
import pytest
from jaxtyping import config as annotation_checks
from jaxtyping import install_import_hook
from model_hub import model_hub  # noqa: F401  a fixture
from moto.server import ThreadedMotoServer

_CORE = ("core.expressions", "core.frame_times", "core.tables")
_FOLDERS = (*_CORE, "media", "data", "faces", "scoring", "training", "encoder", "features", "fusion", "report", "predict")
CHECKED = [f"abaw_ray.{name}" for name in _FOLDERS]
"""Modules whose annotated shapes and types are checked at every call, in this process and not in Ray's workers."""
install_import_hook(CHECKED, "typechecks.strict")
# The same examples in every run, so that a failure can be reproduced; and no test depends on the speed of the machine.
hypothesis.settings.register_profile("reproducible", derandomize=True, deadline=None)
hypothesis.settings.load_profile("reproducible")


def pytest_addoption(parser):
    parser.addoption("--chromium", metavar="FILE", help="Chromium for the tests in tests/browser; without it they are deselected")
    parser.addoption("--clips", metavar="FOLDER", help="folder of real clips; without it the tests in tests/clips are deselected")
    parser.addoption("--cluster", action="store_true", help="run tests/cluster/real, on several machines; without it, those tests are deselected")
    parser.addoption(
        "--cluster-net", metavar="A.B.C", default="10.77.0", help="first numbers of the machines' addresses; two runs at a time need two"
    )
    parser.addoption("--compiler", action="store_true", help="run the tests that call a C++ compiler; without it, they are deselected")
    parser.addoption("--faults", action="store_true", help="run tests/cluster/faults, on a local Ray; without it, those tests are deselected")
    parser.addoption(
        "--people", metavar="FOLDER", help="folder of clips with cuts between people; without it the tests that need them are deselected"
    )
    parser.addoption("--yunet", metavar="FILE", help="YuNet's weights for the tests on clips; without it they use Haar and lower thresholds")


def pytest_collection_modifyitems(config, items):
    """Without the option of its name, deselect the tests with a marker: not skipped, so that no other skip is overlooked."""
    missing = [name for name in ("clips", "chromium", "compiler", "faults") if not config.getoption(f"--{name}")]
    deselected = [item for item in items if any(item.get_closest_marker(name) for name in missing)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def clips(pytestconfig) -> Path:
    """The folder of real clips."""
    folder = Path(pytestconfig.getoption("--clips"))
    assert folder.is_dir(), f"--clips {folder}: no such folder"
    return folder


@pytest.fixture(scope="session")
def yunet(pytestconfig) -> str:
    """Path of YuNet's weights; empty to use Haar."""
    return pytestconfig.getoption("--yunet") or ""


@pytest.fixture
def unchecked_annotations():
    """Disables the checks of annotations, for tests of the package's own errors on values that the checks would reject first."""
    annotation_checks.update("jaxtyping_disable", True)
    yield
    annotation_checks.update("jaxtyping_disable", False)


@pytest.fixture
def object_store(monkeypatch):
    """boto3 client of an S3 server on loopback; ``AWS_ENDPOINT_URL`` is set to its address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}.items():
        monkeypatch.setenv(name, value)
    yield boto3.client("s3", region_name="us-east-1")
    server.stop()


@pytest.fixture
def write_cluster_file(tmp_path, monkeypatch):
    """Function that writes a cluster file into the working folder; see ``cluster_files.writer``."""
    from cluster_files import writer  # it loads Ray's checks, which most tests do without

    return writer(tmp_path, monkeypatch)


@pytest.fixture
def interrupts():
    """Interrupts raise ``KeyboardInterrupt``, as in every command; a background job of a shell ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
