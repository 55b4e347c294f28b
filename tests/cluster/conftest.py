"""Fixtures of several modules."""

import pytest
from tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a complete model with small random networks; nothing may write into it."""
    folder = tmp_path_factory.mktemp("model")
    write_tiny_bundle(folder, tmp_path_factory.mktemp("parts"))
    return folder
