"""The work of a stage as data: item by item on Ray Data (``ItemWork``), or one run over all inputs (``RunWork``)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from abaw_ray.cluster.engine.column_read import ColumnRead
from abaw_ray.cluster.engine.items import one_task_each
from abaw_ray.cluster.engine.run import Run, RunConfig
from abaw_ray.cluster.engine.workers.worker import Task, Work
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.core.errors import AbawError
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.core.stage_store.stage_store import StageStore

_ConfigT = TypeVar("_ConfigT", bound=RunConfig)


@dataclass(frozen=True, kw_only=True)
class ItemOperator(Generic[_ConfigT]):
    """One pool of actors of an item stage."""

    build: Callable[[Run[_ConfigT]], Callable[[], Work]]
    """Makes the picklable builder of the work. Called on the driver, once, before anything starts."""
    resources: Callable[[ComputeConfig], Resources]
    """Size of the pool."""
    items_per_worker: Callable[[ComputeConfig], int] = lambda compute: 1
    """As in ``Operator``."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What the unfinished items of a stage take, for the plan."""

    lines: tuple[str, ...] = ()
    """Printed below the table."""
    problem: AbawError | None = None
    """Why it cannot succeed."""


@dataclass(frozen=True, kw_only=True)
class ItemWork(Generic[_ConfigT]):
    """Work on independent items: one output each, several at a time."""

    items: Callable[[Run[_ConfigT]], Mapping[Item, dict]]
    """All items with the payloads that their work needs (JSON values)."""
    operators: tuple[ItemOperator[_ConfigT], ...]
    """Usually one; several form a chain that each item passes through, for work that needs CPUs first and then a GPU."""
    unit: str
    """Plural noun for the items in messages: videos."""
    split: Callable[[Run[_ConfigT], Mapping[Item, dict], int], list[Task]] = one_task_each
    """The run, unfinished items and number of workers -> tasks, in the order in which they start. Several tasks may share an item."""
    describe: Callable[[Mapping[Item, dict]], str] = lambda items: ""
    """Additional text about these items in the plan."""
    forecast: Callable[[Run[_ConfigT], Mapping[Item, dict], tuple[int, ...]], Forecast] | None = None
    """The run, unfinished items and number of workers of each operator -> time and size of the output, for the plan."""
    in_driver: Callable[[Mapping[Item, dict]], bool] = lambda todo: False
    """Whether the unfinished items are so few that they are processed in the driver: starting Ray would take longer."""
    between: Callable[[_ConfigT], str] = lambda config: ""
    """Folder below the store for what lies between operators; deleted before and after the work, with what killed workers left. Empty: none."""
    column: ColumnRead | None = None
    """Column of an earlier stage's outputs that it reads and that may have been deleted; it is made again for the unfinished items."""
    summarize: Callable[[Run[_ConfigT], Mapping[str, str]], Mapping[str, Any]] = lambda run, outputs: {}
    """The run and the paths of all outputs by item's name -> figures of the complete stage, beside the sums of what the work returned."""
    verify: Callable[[Run[_ConfigT], StageStore, Record], None] = lambda run, store, record: None
    """Raises an error if the complete stage is not usable."""


@dataclass(frozen=True, kw_only=True)
class RunWork(Generic[_ConfigT]):
    """Work that is one run over all inputs, such as a training."""

    run: Callable[[Run[_ConfigT], StageStore, Item], dict[str, Any]]
    """Writes the output, marks it complete and returns its figures."""
    resources: Callable[[ComputeConfig], Resources] | None = None
    """Resources of its largest step; None for work in the driver, without Ray."""
    identity: Callable[[Run[_ConfigT]], str] = lambda run: ""
    """Identifies what it reads besides the outputs of its inputs, such as annotations."""
    describe: Callable[[Run[_ConfigT]], str] = lambda run: "one run"
    """Text of the work in the plan."""
    gang: bool = False
    """Whether all workers must run at the same time."""
    in_driver: Callable[[_ConfigT], bool] = lambda config: False
    """Whether these settings leave so little to do that it is done in the driver."""
