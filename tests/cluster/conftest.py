"""Fixtures of several modules."""

import pytest
from tiny_bundle import write_tiny_bundle

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.session import RaySession


@pytest.fixture(scope="module")
def session():
    """A small Ray of the module's own; modules that need another one define theirs."""
    with RaySession(ComputeConfig(local_cpus=2, object_store_mb=80)) as session:
        session.start()
        yield session


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a complete model with small random networks; nothing may write into it."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_bundle(folder, tmp_path_factory.mktemp("parts"))
    return folder
