import pytest
from child_calls import build_calls

from abaw_ray.core.process.child_process import ChildLimits, ChildProcess


@pytest.fixture(scope="module")
def child():
    """A child process that the tests of a module share."""
    with ChildProcess(build_calls, ChildLimits()) as shared:
        yield shared


@pytest.fixture(scope="module")
def shared_child_with_timeout():
    with ChildProcess(build_calls, ChildLimits(seconds=4)) as shared:
        yield shared


@pytest.fixture
def child_with_timeout(shared_child_with_timeout):
    """A running child that may take four seconds without progress: a loaded machine can stop a process for longer than one."""
    shared_child_with_timeout("echo", 0)
    return shared_child_with_timeout
