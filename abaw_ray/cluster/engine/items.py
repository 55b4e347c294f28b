"""Execution of a stage whose items are independent: finished items are skipped, the rest is processed, failures are recorded."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from abaw_ray.cluster.engine.run import Run
from abaw_ray.cluster.engine.workers.outcomes import Outcomes
from abaw_ray.cluster.engine.workers.rounds import Chain, process_items
from abaw_ray.cluster.engine.workers.worker import Task
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.core.progress import echo, progress
from abaw_ray.core.stage_store.lock import writer_lock
from abaw_ray.core.stage_store.record import Item, Record
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.stage_store.store_index import StoreIndex

Split = Callable[[Run[Any], Mapping[Item, dict], int], list[Task]]
"""The run, unfinished items with their payloads, and the number of workers -> tasks."""
_AGAIN = "again"
"""Subfolder of a store for outputs that are made again."""
_PARALLEL = 16
"""Outputs that are compared and moved at the same time. Ours."""
MakeChain = Callable[[Mapping[Item, dict]], Chain]
"""Unfinished items with their payloads -> the operators that process them."""


def one_task_each(run: Run[Any], items: Mapping[Item, dict], workers: int) -> list[Task]:
    """One task for each item, in their order."""
    return list(items.items())


def run_items(
    run: Run[Any],
    store: StageStore,
    payloads: Mapping[Item, dict],
    chain: MakeChain,
    *,
    unit: str,
    split: Split = one_task_each,
    between: str = "",
    summarize: Callable[[Mapping[str, str]], Mapping[str, Any]] = lambda outputs: {},
) -> Record:
    """Complete a stage for these items: only missing outputs are made, the record is written last.

    Args:
        run: Session, storage and policy.
        store: The stage's storage.
        payloads: Input of each item's work, JSON values.
        chain: Makes the operators for the unfinished items; called only if there are some.
        unit: Plural noun for the items in messages.
        split: Makes the tasks; one for each item by default.
        between: As in ``ItemWork``.
        summarize: Paths of all outputs by item's name -> further figures of the record.

    Raises:
        StageError: too many items failed.
        StorageError: some items could not be read or written in any attempt; all others are done.
        BusyError: another run writes the same store.
    """
    items = list(payloads)
    record = store.record(items)
    if record is not None and not (run.policy.retry_failures and record.failures):
        echo(f"{store.stage}: already done ({len(record.outputs):,} {unit}) in {store.storage.uri(store.path)}")
        return record
    with writer_lock(store.storage, store.path), _deleted(store, between):
        started, index = time.monotonic(), store.index()
        figures, uncounted = _process(run, store, index, payloads, chain, unit, split)
        state = store.state(items, index)
        uncounted |= state.failures.keys()  # failed items have an output too, but returned no figures
        figures["rows"] = figures.get("rows", 0) + index.rows(path for name, path in state.outputs.items() if name in uncounted)
        index.save()
        figures |= summarize(state.outputs)
        return store.finish(items, figures, time.monotonic() - started, run.policy.max_failures, state=state)


def remake_items(
    run: Run[Any], store: StageStore, select: Callable[[], Mapping[Item, dict]], chain: MakeChain, *, unit: str, split: Split, keys: tuple[str, ...]
) -> None:
    """Make outputs of a complete stage again. Each is made beside the present one and replaces it if it is complete and has the same rows.

    Args:
        run: Session and storage.
        store: The stage's storage.
        select: Returns the items with their payloads; called once the store is locked.
        chain: Makes the operators.
        unit: Plural noun for the items in messages.
        split: As in ``run_items``.
        keys: Columns in which the rows must be the same.

    Raises:
        StorageError: some items could not be read or written in any attempt; all others are made, and the next call continues.
        BusyError: another run writes the same store.
    """
    beside = replace(store, subfolder=_AGAIN)
    with writer_lock(store.storage, store.path):
        items = select()
        _process(run, beside, beside.index(), items, chain, unit, split)
        _replace_outputs(store, beside, list(items), keys)
        store.storage.delete(beside.path)


def _replace_outputs(store: StageStore, beside: StageStore, items: list[Item], keys: tuple[str, ...]) -> None:
    """Replace the outputs of items that were made again, without a failure, by the new ones."""
    index, state = store.index(), beside.state(items)
    index.refresh()

    def replace_one(item: Item) -> int | None:
        new, old = beside.output(item), store.output(item)
        rows = store.storage.read_table(new, columns=list(keys))
        if index.has_output(old) and not rows.equals(store.storage.read_table(old, columns=list(keys))):
            return None
        store.storage.move(new, old)
        return len(rows)

    complete = [item for item in items if item.name in state.outputs and item.name not in state.failures]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for item, rows in zip(complete, pool.map(replace_one, complete), strict=True):
            if rows is None:
                echo(f"  {item.name}: its output is kept as it is, because it has other rows when it is made again")
            else:
                index.add(store.output(item), rows)
    index.refresh()
    index.save()


@contextmanager
def _deleted(store: StageStore, folder: str) -> Iterator[None]:
    """Delete a folder of the store before the block, as a killed run may have left it, and after it."""
    path = f"{store.path}/{folder}"
    if folder:
        store.storage.delete(path)
    try:
        yield
    finally:
        if folder:
            store.storage.delete(path)


def _process(
    run: Run[Any],
    store: StageStore,
    index: StoreIndex,
    payloads: Mapping[Item, dict],
    make_chain: MakeChain,
    unit: str,
    split: Split,
) -> tuple[dict[str, Any], set[str]]:
    """Process the unfinished items; returns the sums of the figures, and the names of the items that were finished before."""
    items = list(payloads)
    state = store.state(items, index)
    retried = state.failures if run.policy.retry_failures else {}
    done = state.done - retried.keys()
    todo = {item: payloads[item] for item in items if item.name not in done}
    text = f"{store.stage}: {len(todo):,} of {len(items):,} {unit} to do" + (f", {len(done):,} already done" if done else "")
    echo(f"{text}; {store.storage.uri(store.path)}")
    if not todo:
        return {}, done
    chain = make_chain(todo)
    if not chain.in_driver:
        chain = replace(_sized(run, chain), run=run.id)
    metrics = ItemMetrics(store.stage, run.id, run.events, items=len(todo), on_ray=not chain.in_driver)
    with progress(store.stage, len(todo), unit) as shown, metrics.last_point_added():
        outcomes = Outcomes(store, shown, metrics, index, retried)
        process_items(store, split(run, todo, chain.operators[0].resources.workers), chain, outcomes)
    return dict(shown.sums), done


def _sized(run: Run[Any], chain: Chain) -> Chain:
    """The chain with the number of workers of each operator: that of its settings, or as many as fit on the cluster beside the other operators."""
    for operator in chain.operators:
        run.session.start(operator.resources)
    sizes = run.session.sized([operator.resources for operator in chain.operators])
    return replace(chain, operators=[replace(operator, resources=size) for operator, size in zip(chain.operators, sizes, strict=True)])
