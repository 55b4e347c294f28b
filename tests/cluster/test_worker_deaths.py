"""Deaths of worker processes are charged to the task in work, unless its machine was lost, and a second one ends the attempts at the task."""

import threading

import pytest
from timeouts import TIMEOUT_S

from abaw_ray.cluster.engine.workers import rounds, worker_deaths
from abaw_ray.cluster.engine.workers.outcomes import Outcomes
from abaw_ray.cluster.engine.workers.worker import ItemWorker, Operator, WorkerConfig, manifest
from abaw_ray.cluster.engine.workers.worker_deaths import TaskRegistration, WorkerDeaths
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.core.errors import ItemError, StorageError
from abaw_ray.core.progress import Progress
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

"""Seconds after which a wait counts as a defect."""


@pytest.fixture
def alive(monkeypatch):
    """The nodes that run; a test may change them."""
    nodes = {"m1", "m2"}
    monkeypatch.setattr(worker_deaths, "alive_nodes", lambda: nodes)
    return nodes


@pytest.fixture
def deaths(alive, tmp_path):
    return WorkerDeaths(tmp_path / "journal")


def test_a_task_that_ended_is_charged_with_no_death_when_it_begins_again(deaths):
    assert deaths.begin("1 0", "p1", "m1", False) == 0
    deaths.end("1 0")
    assert deaths.begin("1 0", "p2", "m1", False) == 0


def test_a_task_that_begins_in_another_process_without_having_ended_is_charged_with_a_death(deaths):
    deaths.begin("1 0", "p1", "m1", False)
    deaths.begin("1 1", "p1", "m1", False)
    deaths.end("1 1")
    assert deaths.begin("1 0", "p2", "m1", False) == 1
    assert deaths.begin("1 1", "p2", "m1", False) == 0


def test_a_task_that_begins_again_in_the_same_process_is_charged_with_no_death(deaths):
    deaths.begin("1 0", "p1", "m1", False)
    assert deaths.begin("1 0", "p1", "m1", False) == 0


def test_a_task_with_a_death_is_not_in_work_before_it_is_alone(deaths):
    deaths.begin("1 0", "p1", "m1", False)
    assert deaths.begin("1 0", "p2", "m1", False) == 1
    assert deaths.begin("1 0", "p3", "m1", False) == 1, "the second process died before it was alone with the task"
    assert deaths.begin("1 0", "p3", "m1", True) == 1
    assert deaths.begin("1 0", "p4", "m1", False) == 2


def test_deaths_on_a_machine_that_is_lost_are_not_charged_even_if_it_is_lost_later(deaths, alive):
    deaths.begin("1 0", "p1", "m1", False)
    assert deaths.begin("1 0", "p2", "m2", False) == 1
    alive.discard("m1")
    assert deaths.begin("1 0", "p2", "m2", True) == 0
    assert deaths.begin("1 0", "p3", "m2", False) == 1


def test_a_counter_that_is_killed_continues_where_it_was(deaths, tmp_path):
    deaths.begin("1 0", "p1", "m1", False)
    deaths.begin("1 0", "p2", "m1", False)
    deaths.begin("1 1", "p2", "m1", False)
    deaths.end("1 1")
    deaths.begin("1 2", "p2", "m1", False)
    restarted = WorkerDeaths(tmp_path / "journal")
    assert [restarted.begin(f"1 {task}", "p3", "m1", False) for task in range(3)] == [1, 0, 1]
    assert WorkerDeaths(tmp_path / "journal").begin("1 2", "p3", "m1", True) == 1


class Handle:
    """Calls the methods of an object as those of an actor in the same process: each result is its own reference."""

    def __init__(self, target):
        self.target = target

    def __getattr__(self, name):
        method = getattr(self.target, name)
        return type("Method", (), {"remote": staticmethod(method)})


@pytest.fixture
def process(deaths, monkeypatch):
    """A function that makes the registration of a new process."""
    import ray

    monkeypatch.setattr(ray, "get", lambda value: value)
    return lambda node="m1": TaskRegistration(Handle(deaths), node, "actor")


@pytest.fixture
def die_in():
    """A function that enters a context and does not leave it, as a process that dies."""
    entered = []  # a context that nothing refers to would be left

    def die(context):
        entered.append(context)
        context.__enter__()

    return die


def test_a_task_is_given_up_after_two_deaths(process, die_in):
    die_in(process().task("1 0"))
    die_in(process().task("1 0"))
    with pytest.raises(ItemError, match="died twice while it was processed"), process().task("1 0"):
        pass


def test_a_task_after_a_death_waits_until_its_neighbor_has_ended(process, die_in):
    die_in(process().task("1 0"))
    registration, events, begun, release = process(), [], threading.Event(), threading.Event()

    def run(key, wait=None):
        with registration.task(key):
            events.append(f"begin {key}")
            begun.set()
            if wait:
                wait.wait(TIMEOUT_S)
            events.append(f"end {key}")

    neighbor = threading.Thread(target=run, args=("1 1", release))
    neighbor.start()
    assert begun.wait(TIMEOUT_S)
    alone = threading.Thread(target=run, args=("1 0",))
    alone.start()
    alone.join(0.2)
    assert events == ["begin 1 1"], "the task began beside its neighbor"
    release.set()
    for thread in (neighbor, alone):
        thread.join(TIMEOUT_S)
    assert events == ["begin 1 1", "end 1 1", "begin 1 0", "end 1 0"]


def test_a_worker_that_died_twice_while_it_built_its_work_leaves_items_to_other_machines(process, die_in):
    for _ in range(2):
        die_in(process().build())
    with pytest.raises(StorageError, match="died twice while it loaded its models"), process().build():
        pass
    with process("m2").build():
        pass


@pytest.fixture
def worker(deaths, tmp_path):
    """A worker on the node m1 whose work logs its calls in ``worker.calls``."""
    calls, store = [], StageStore(Storage(StorageConfig(uri=str(tmp_path))), "features", {}, 1)
    worker = ItemWorker(WorkerConfig(store=store, build=lambda: lambda *_: calls.append(1) or {"rows": 1}, deaths=Handle(deaths)))
    worker.calls = calls
    return worker


ITEM = Item(name="e", identity="1")
ROW = manifest([(ITEM, {})], {})[0]


def test_an_item_that_is_given_up_is_a_failure_and_its_work_is_not_called(process, die_in, worker):
    for _ in range(2):
        die_in(process().task("1 0"))
    row = worker.process(ROW)
    assert row["finished"] and "died twice" in row["reason"] and not worker.calls
    assert worker.config.store.failure(ITEM)["reason"] == row["reason"]


def test_an_item_that_is_done_after_a_death_is_named(process, die_in, worker, monkeypatch, capsys):
    die_in(process().task("1 0"))
    row = worker.process(ROW)
    assert row["finished"] and not row["reason"] and worker.calls == [1]
    monkeypatch.setattr(rounds, "stream", lambda *_: [row])
    chain = rounds.Chain(operators=[Operator(build=dict, resources=Resources())])
    store = worker.config.store
    metrics = ItemMetrics("features", "run", RunEvents(), items=1, on_ray=False)
    rounds.process_items(store, [(ITEM, {})], chain, Outcomes(store, Progress("features", 1, "videos"), metrics, store.index(), {}))
    assert "  e: processed again, because its worker's process died during it\n" in capsys.readouterr().out
