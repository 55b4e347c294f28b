"""One run of a job: its settings, its Ray session, its storage, and the records that it has read."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, wraps
from typing import Any, Generic, TypeVar

from abaw_ray.cluster.machines.compute import LAPTOP, ComputeConfig
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.settings import NO_RESULT
from abaw_ray.core.stage_store.record import Record
from abaw_ray.core.stage_store.stage_store import within_failure_budget
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

_T = TypeVar("_T")
_ConfigT = TypeVar("_ConfigT", bound="RunConfig")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Handling of failed items."""

    max_failures: float = 0.01
    """Fraction of a stage's items that may fail before the job fails; one item always may. Default ours."""
    retry_failures: bool = False
    """Retry items that failed in an earlier run."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.max_failures <= 1:
            raise ConfigError(f"policy.max_failures={self.max_failures} must be a fraction between 0 and 1")

    def within_budget(self, failed: float, of: float) -> bool:
        """Whether this number of failures is allowed."""
        return within_failure_budget(failed, of, self.max_failures)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings of every job that do not affect results: where results go and how the work runs."""

    storage: StorageConfig = field(default_factory=StorageConfig, metadata=NO_RESULT)
    """The store of the results."""
    cluster_size: str = field(default="", metadata=NO_RESULT)
    """Size of the machine or cluster: laptop, cpu-N (N CPUs in all) or gpu-MxK (M machines with K GPUs each). Sets all of ``compute``;
    single options then change it. Empty keeps the preset's values."""
    compute: ComputeConfig = field(default=LAPTOP, metadata=NO_RESULT)
    """Number and size of the workers."""
    policy: Policy = field(default_factory=Policy, metadata=NO_RESULT)
    """Handling of failed items."""
    cluster_file: str = field(default="", metadata=NO_RESULT)
    """Cluster file, such as cluster.yaml: a plan on another machine than the cluster's counts the machines that it allows, and costs are computed
    with its prices. A job on a cluster that ``ray up`` has started needs none: the head has the file."""
    plan: bool = field(default=False, metadata=NO_RESULT)
    """Print what the job would do, the resources it requests and all problems (bucket, weights, data set, capacity); no stage runs."""


@dataclass(frozen=True)
class Run(Generic[_ConfigT]):
    """A job's settings with its Ray session and storage."""

    config: _ConfigT
    session: RaySession
    cache: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """Results of ``once_per_run`` functions, and what a plan has listed."""
    records: dict[str, Record] = field(default_factory=dict, compare=False, repr=False)
    """Records of complete stages that have been read, by name."""
    command: str = ""
    """Name of the command: pipeline."""
    id: str = field(default_factory=lambda: f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}", compare=False)
    """Name of this run: UTC time of its start, and random characters."""
    events: RunEvents = field(default_factory=RunEvents, compare=False, repr=False)
    """Curves of the run for TensorBoard, written where the run is recorded."""
    result: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What the command prints as JSON at its end, where it can; filled by the command."""

    @cached_property
    def storage(self) -> Storage:
        """Storage of all results."""
        return Storage(self.config.storage)

    @property
    def compute(self) -> ComputeConfig:
        """Number and size of the workers."""
        return self.config.compute

    @property
    def policy(self) -> Policy:
        """Handling of failed items."""
        return self.config.policy


def once_per_run(read: Callable[[Run[Any]], _T]) -> Callable[[Run[Any]], _T]:
    """Cache the result of a function whose only argument is the run: several stages call it, and listing a data set is slow."""

    @wraps(read)
    def cached(run: Run[Any]) -> _T:
        if read not in run.cache:
            run.cache[read] = read(run)
        return run.cache[read]

    return cached
