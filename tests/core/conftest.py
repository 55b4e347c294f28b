import pytest
from child_calls import build_calls

from abaw_ray.core.process.child_process import ChildLimits, ChildProcess


@pytest.fixture(scope="module")
def child():
    with ChildProcess(build_calls, ChildLimits()) as shared:
        yield shared


@pytest.fixture(scope="module")
def shared_impatient_child():
    with ChildProcess(build_calls, ChildLimits(seconds=1)) as shared:
        yield shared


@pytest.fixture
def impatient_child(shared_impatient_child):
    """A running child with a limit of one second without progress."""
    shared_impatient_child("echo", 0)
    return shared_impatient_child
