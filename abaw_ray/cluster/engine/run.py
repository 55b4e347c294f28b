"""What every job is told besides its stages' settings: where data and results are, on how much to run, what failures mean."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, wraps
from typing import Any, TypeVar

from abaw_ray.cluster.engine.compute import LAPTOP, ComputeConfig
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.stages.synthetic import draw, place_of
from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import bears
from abaw_ray.core.storage.storage import Storage
from abaw_ray.data.config import Contempt
from abaw_ray.data.synthetic.config import SyntheticConfig

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What the user has. Each path is a root in the layout of its data set; an empty one means that it is not there."""

    affwild2: str = ""
    """Root of an Aff-Wild2 tree with its EXPR annotations."""
    videos: str = ""
    """Any videos, instead of the tree's: a folder, a glob, one video, or a list of paths and URIs (text: one a line; CSV or Parquet: column
    uri or path, and video where the names shall be your own). For faces and features; what trains and scores needs the tree."""
    affectnet: str = ""
    """Root of AffectNet, in any of its three layouts."""
    contempt: Contempt = "own class"
    """What becomes of AffectNet's eighth expression; ``other`` needs ``Other`` among the encoder's classes."""
    rafdb: str = ""
    """Root of RAF-DB, in either of its layouts."""
    test_names: str = "EXPR_test_release.txt"
    """Names of the test release, relative to ``affwild2``; a file that is not there means that there is no test release."""
    test_example: str = "EXPR_test_example.txt"
    """The example submission with the rows wanted, relative to ``affwild2``."""
    draw: bool = False
    """Draw the synthetic data set first, into the folder ``drawn``, and read it from there."""
    drawn: str = "runs/demo/data"
    """Where the synthetic data set lies: a folder, or an address in an object store. Where results go to a store and this is a folder, it
    lies beside them: other machines see no folder of this one."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """What is drawn; read only with ``draw``."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a run does about failed items."""

    max_failures: float = 0.01
    """Share of a stage's items that may fail before the job does; one always may. Ours, not from the paper."""
    retry_failures: bool = False
    """Try items again that failed in an earlier run."""

    def __post_init__(self) -> None:
        """Refuse shares that are none."""
        if not 0 <= self.max_failures <= 1:
            raise ConfigError(f"policy.max_failures={self.max_failures} is a share between 0 and 1")

    def bears(self, failed: float, of: float) -> bool:
        """Whether so many may have failed."""
        return bears(failed, of, self.max_failures)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The part of a job that never shapes a result: it only says where things are and how they run."""

    storage: StorageConfig = field(default_factory=StorageConfig)
    """Where results go."""
    data: DataConfig = field(default_factory=DataConfig)
    """What the user has."""
    on: str = ""
    """What it runs on, in a word: laptop, cpu-N (N CPUs in all) or gpu-MxK (M machines with K GPUs each). Sets all of ``compute``, before
    single options of it; empty leaves what the preset says."""
    compute: ComputeConfig = LAPTOP
    """On how much the stages run."""
    policy: Policy = field(default_factory=Policy)
    """What failures mean."""
    plan: bool = False
    """Only say what would be done, what it asks for, and what stands in the way: bucket, weights, data set, room on the cluster."""


@dataclass(frozen=True)
class Run:
    """One run of a job: its ``RunConfig`` made real."""

    where: RunConfig
    engine: RaySession
    kept: dict[Callable, Any] = field(default_factory=dict, compare=False, repr=False)
    """What ``once_a_run`` functions have read."""

    @cached_property
    def storage(self) -> Storage:
        """The results' root."""
        return Storage(self.where.storage)

    @property
    def compute(self) -> ComputeConfig:
        """On how much the stages run."""
        return self.where.compute

    @property
    def policy(self) -> Policy:
        """What failures mean."""
        return self.where.policy

    @cached_property
    def data(self) -> DataConfig:
        """Where the data sets are; the synthetic one is drawn first if the job says so."""
        data = self.where.data
        if not data.draw:
            return data
        root = place_of(data.drawn, self.storage)
        draw(root, data.synthetic, self.storage)
        return replace(data, draw=False, affwild2=f"{root}/affwild2", affectnet=f"{root}/affectnet", rafdb=f"{root}/rafdb")


def once_a_run(read: Callable[[Run], _T]) -> Callable[[Run], _T]:
    """Keep what a function of the run alone found: every stage asks again, and a data set's lists are long."""

    @wraps(read)
    def kept(run: Run) -> _T:
        if read not in run.kept:
            run.kept[read] = read(run)
        return run.kept[read]

    return kept
