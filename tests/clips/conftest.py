import pytest


def pytest_collection_modifyitems(config, items):
    """Leave out what needs YuNet's weights where none are given."""
    if config.getoption("--yunet"):
        return
    left_out = [item for item in items if "weights_file" in item.fixturenames]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def weights_file(pytestconfig):
    """YuNet's weights as they were given; a test that asks for them is left out where there are none."""
    return pytestconfig.getoption("--yunet")
