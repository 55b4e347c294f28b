"""The plan of a job, printed before any machine is paid for: its stages, finished items, requested resources, and all problems."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from abaw_ray.cluster.cost.plan_cost import PlanCost
from abaw_ray.cluster.cost.prices import prices_for
from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.stage import PendingError, Stage, needed
from abaw_ray.cluster.engine.stage_work import Forecast, ItemWork, RunWork
from abaw_ray.cluster.machines import capacity
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import refusal
from abaw_ray.core.errors import AbawError, ConfigError, StorageError
from abaw_ray.core.progress import echo
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.storage.filesystems import is_remote
from abaw_ray.core.storage.storage import Storage
from abaw_ray.core.text_columns import text_columns

_DONE = "already done"
_DRIVER = ("in the driver", "")
"""Last two columns of a stage that needs no workers."""


def show_plan(run: Run[Any], stages: Sequence[Stage]) -> None:
    """Print the plan of these stages, and every problem found, each once.

    Nothing is written, and nothing is started except, where no cluster is joined, a local Ray to measure capacity.

    Raises:
        AbawError: the problem, or the number of problems, which are printed; its exit code is that of the first.
    """
    stages = needed(run, stages)
    problems: list[AbawError] = []
    _collect(problems, partial(_check_storage, run.storage))
    unwritable = bool(problems)
    available = _machines(run)
    cost = PlanCost(available, prices_for(run.config.cluster_file))
    rows, lines = [("stage", "work", "requests", "workers that fit")], []
    for stage in stages:
        work = _collect(problems, partial(_work, run, stage, stages, problems)) or "unknown, see below"
        gang = isinstance(stage.work, RunWork) and stage.work.gang
        columns, workers = [], []
        for resources in stage.resources(run):
            fitting, required = capacity.max_workers(available, resources), run.session.required_workers(resources, gang=gang)
            if work != _DONE and not run.session.size_unknown and fitting < required:
                problems.append(ConfigError(f"{stage.name}: {refusal(resources, required, fitting)}"))
            columns.append((str(resources), f"{fitting:,}"))
            workers.append(_started(run, resources, fitting))
        rows += [(stage.name, work, *pair) for pair in columns or [_DRIVER]]
        lines += _collect(problems, partial(_forecast, run, stage, tuple(workers), problems)) or ()
        if work != _DONE:
            _add_cost(cost, run, stage, workers)
            lines += _collect(problems, partial(_deleted_inputs, cost, run, stage)) or ()
        lines += [f"WARNING {text}" for text in _collect(problems, partial(stage.warnings, run)) or ()]
    echo(f"plan, results in {run.storage.uri()}")
    for line in text_columns(rows):
        echo(f"  {line}")
    for line in dict.fromkeys(lines):  # two stages may give the same warning
        echo(f"  {line}")
    for line in cost.lines():
        echo(f"  {line}")
    if unwritable:  # no stage can read its results either
        problems = [*problems[:1], *(problem for problem in problems[1:] if not str(problem).startswith(run.storage.uri()))]
    if len(problems) == 1:
        raise problems[0]
    for problem in problems:
        echo(f"PROBLEM {problem}")
    if problems:
        raise type(problems[0])(f"the plan has {len(problems)} problems, listed above")
    echo("no problems; the same command without --plan runs it")


def _machines(run: Run[Any]) -> list[capacity.Machine]:
    """The machines of the cluster that this process has joined, of the given cluster file, or of a local Ray."""
    if run.config.cluster_file and not run.session.shared:
        return capacity.machines_of_file(Path(run.config.cluster_file))
    run.session.start()
    return capacity.machines()


def _add_cost(cost: PlanCost, run: Run[Any], stage: Stage, workers: Sequence[int]) -> None:
    """Add a stage; without an estimate where its data do not exist yet or cannot be read, which the table says."""
    pools = stage.resources(run)
    if isinstance(stage.work, ItemWork) and stage.work.forecast is not None and not cost.prices.usd_per_hour:
        return  # the forecast gives the time
    try:
        workloads = stage.workloads(run, _todo(run, stage))
    except AbawError:
        workloads = ()
    if pools:
        cost.add(stage.name, workloads, list(zip(pools, workers, strict=True)))


def _deleted_inputs(cost: PlanCost, run: Run[Any], stage: Stage) -> list[str]:
    """A line about outputs of an earlier stage that are made again for the unfinished items, whose cost is added."""
    if not isinstance(stage.work, ItemWork) or (column := stage.work.column) is None:
        return []
    source, counted = column.stage, run.cache.setdefault((_deleted_inputs, column), set())
    items = {item: payload for item, payload in column.deleted(run, _todo(run, stage)).items() if item not in counted}
    if not items:
        return []
    counted.update(items)
    sizes = [(size, _started(run, size, capacity.max_workers(cost.available, size))) for size in source.resources(run)]
    cost.add(f"{source.name} for {stage.name}", source.workloads(run, items), sizes)
    return [f"{stage.name}: the {column.text} of {len(items):,} {source.unit} were deleted; these are processed again first"]


def _started(run: Run[Any], resources: Resources, fitting: int) -> int:
    """Number of workers that run at the same time: of those that the user has chosen, others wait for room."""
    return resources.workers if resources.workers and (run.session.size_unknown or not fitting) else min(resources.workers or fitting, fitting)


def _todo(run: Run[Any], stage: Stage) -> Mapping[Item, dict] | None:
    """The unfinished items of a stage; None where its items are not known yet, and for one run over everything.

    The store is listed once per plan: several parts of it need them, and a listing of 100,000 items takes about 100 requests.
    """
    if not isinstance(stage.work, ItemWork):
        return None
    try:
        items = stage.items(run)
    except PendingError:
        return None
    if (_todo, stage.name) not in run.cache:
        done = stage.store(run).done(items)
        run.cache[_todo, stage.name] = {item: payload for item, payload in items.items() if item.name not in done}
    return run.cache[_todo, stage.name]


def _check_storage(storage: Storage) -> None:
    """Check that results can be written, without creating their folder.

    Raises:
        StorageError: they cannot.
    """
    root = Path(storage.uri())
    if is_remote(storage.config.uri) or root.is_dir():
        storage.check()  # writes a small file and deletes it
        return
    parent = next(parent for parent in (root, *root.parents) if parent.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        reason = "is not a folder" if not parent.is_dir() else "is not writable"
        raise StorageError(f"{root}: cannot be created, because {parent} {reason}; choose another folder with -o")


def _collect(problems: list[AbawError], call: Callable[[], Any]) -> Any:
    """The result of the call; its error is collected, once, instead of raised."""
    try:
        return call()
    except AbawError as error:
        if str(error) not in map(str, problems):
            problems.append(error)
        return None


def _work(run: Run[Any], stage: Stage, stages: Sequence[Stage], problems: list[AbawError]) -> str:
    """Text of what remains to be done in a stage."""
    _collect(problems, partial(_check, run, stage))
    inputs = needed(run, stage.inputs)
    for required in inputs:
        if required not in stages:
            required.require(run)
    missing = [required.name for required in inputs if required.record(run) is None]
    try:
        return f"{_run_text(run, stage)}after {' and '.join(missing)}" if missing else _remaining(run, stage)
    except PendingError as pending:
        if all(required in stages for required in inputs):
            return str(pending)  # an earlier stage of the same job provides it
        raise


def _forecast(run: Run[Any], stage: Stage, workers: tuple[int, ...], problems: list[AbawError]) -> list[str]:
    """Lines about time and output of the unfinished items; nothing where they are not known yet."""
    if not isinstance(stage.work, ItemWork) or stage.work.forecast is None or stage.record(run) is not None:
        return []
    todo = _todo(run, stage)
    if todo is None:
        return []
    forecast = stage.work.forecast(run, todo, workers) if todo else Forecast()
    if forecast.problem:
        problems.append(forecast.problem)
    return [f"{stage.name}: {line}" for line in forecast.lines]


def _check(run: Run[Any], stage: Stage) -> None:
    with suppress(PendingError):  # it cannot be checked before its input exists
        stage.check_all(run)


def _run_text(run: Run[Any], stage: Stage) -> str:
    return "" if isinstance(stage.work, ItemWork) else f"{stage.work.describe(run)}, "


def _remaining(run: Run[Any], stage: Stage) -> str:
    store, items = stage.store(run), stage.items(run)
    if store.record(items) is not None:
        return _DONE
    if not isinstance(stage.work, ItemWork):
        return stage.work.describe(run)
    done = len(items) - len(_todo(run, stage) or ())
    text = f"{len(items) - done:,} of {len(items):,} {stage.work.unit}" + (f", {done:,} already done" if done else "")
    details = stage.work.describe(items)
    return text + (f", {details}" if details else "")
