import pytest


def pytest_collection_modifyitems(config, items):
    """Deselect tests that need YuNet's weights where none are given."""
    if config.getoption("--yunet"):
        return
    deselected = [item for item in items if "weights_file" in item.fixturenames]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.fixture
def weights_file(pytestconfig):
    """Path of YuNet's weights; a test that uses it is deselected where there are none."""
    return pytestconfig.getoption("--yunet")
