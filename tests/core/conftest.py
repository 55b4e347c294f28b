import pytest
from deeds import deeds

from abaw_ray.core.process.child_process import ChildLimits, ChildProcess


@pytest.fixture(scope="module")
def watched():
    with ChildProcess(deeds, ChildLimits()) as shared:
        yield shared


@pytest.fixture(scope="module")
def one_hasty():
    with ChildProcess(deeds, ChildLimits(seconds=1)) as shared:
        yield shared


@pytest.fixture
def hasty(one_hasty):
    """One that gives up soon, with a child."""
    one_hasty("echo", 0)
    return one_hasty
