from pathlib import Path

import pytest

_NEEDED = {"weights_file": "--yunet", "people_folder": "--people"}
"""Fixtures, and the option that gives what they return."""


def pytest_collection_modifyitems(config, items):
    """Deselect tests that need YuNet's weights or the clips of people where none are given."""
    missing = {fixture for fixture, option in _NEEDED.items() if not config.getoption(option)}
    deselected = [item for item in items if missing & set(getattr(item, "fixturenames", ()))]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session")
def weights_file(pytestconfig):
    """Path of YuNet's weights; a test that uses it is deselected where there are none."""
    return pytestconfig.getoption("--yunet")


@pytest.fixture(scope="session")
def people_folder(pytestconfig):
    """The folder of clips with cuts; a test that uses it is deselected where there is none."""
    folder = Path(pytestconfig.getoption("--people"))
    assert folder.is_dir(), f"--people {folder}: no such folder"
    return folder
