import pytest
from deeds import deeds

from abaw_ray.core.process.child_process import Limits, Watched


@pytest.fixture(scope="module")
def watched():
    with Watched(deeds, Limits()) as shared:
        yield shared


@pytest.fixture(scope="module")
def one_hasty():
    with Watched(deeds, Limits(seconds=1)) as shared:
        yield shared


@pytest.fixture
def hasty(one_hasty):
    """One that gives up soon, with a child."""
    one_hasty("echo", 0)
    return one_hasty
