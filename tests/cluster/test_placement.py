"""Work that requests no CPUs stays off a head without CPUs, and frames that are lost are joined again while trials hold all CPUs."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster
from ray.util import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from timeouts import TIMEOUT_S

from abaw_ray.cluster.engine.run import Policy
from abaw_ray.cluster.engine.workers.outcomes import Outcomes
from abaw_ray.cluster.engine.workers.rounds import Chain, process_items
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.machines.placement import nodes_without_cpus, not_on
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.machines.session import RaySession
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.cluster.stages import annotations
from abaw_ray.core.progress import Progress
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = pytest.mark.slow
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
MEMORY = 80_000_000
LARGE = 1_000_000
"""Bytes of an object that Ray keeps in shared memory; smaller ones are kept by the driver and are not lost with a machine."""


EMPTY = annotations.AnnotationSet(splits={}, labels={}, example=[])
"""Timeout of a call, in seconds."""


@pytest.fixture(scope="module")
def cluster():
    """A head without CPUs, and the session of a run that joined it; machines with one CPU are added by the tests."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", cluster.address)
        with RaySession(ComputeConfig()) as session:
            session.start()
            cluster.session = session
            yield cluster
    cluster.shutdown()


@pytest.fixture
def machine(cluster):
    node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    yield node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


class NodeRecorder:
    """Writes the node on which an operator processes an item."""

    def __init__(self, path):
        self.path = Path(path)

    def __call__(self, store, item, payload, *take_slot):
        for take in take_slot:
            take()
        with self.path.open("a") as file:
            file.write(f"{ray.get_runtime_context().get_node_id()}\n")
        if not take_slot:
            store.storage.write_bytes(store.output(item), json.dumps(payload).encode())
        return {}


def test_a_later_operator_does_not_run_on_a_head_without_cpus(cluster, machine, tmp_path):
    store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "where", {}, 1)
    first, *later = cluster.session.sized([Resources(workers=1, memory_gb=0.1), Resources(workers=4, memory_gb=0.1)])
    assert [one.cpus for one in later] == [0]
    operators = [
        Operator(build=lambda: NodeRecorder(tmp_path / "first"), resources=first),
        *(Operator(build=lambda: NodeRecorder(tmp_path / "later"), resources=one) for one in later),
    ]
    tasks = [(Item(name=f"v{number}", identity="1"), {}) for number in range(8)]
    metrics = ItemMetrics("where", "run", RunEvents(), items=len(tasks), on_ray=True)
    process_items(store, tasks, Chain(operators=operators), Outcomes(store, Progress("where", len(tasks), "items"), metrics, store.index(), {}))
    (head,) = nodes_without_cpus()
    for name in ("first", "later"):
        nodes = (tmp_path / name).read_text().split()
        assert len(nodes) == len(tasks) and set(nodes) == {machine.node_id} and head not in nodes


def joined(storage, outputs, annotations, splits):
    """In place of the frames: large enough for shared memory, and the node on which it was computed."""
    return (np.zeros(LARGE, dtype=np.uint8), ray.get_runtime_context().get_node_id()), {}


def test_lost_frames_are_joined_again_while_trials_that_wait_for_them_hold_all_cpus(cluster, machine, monkeypatch):
    monkeypatch.setattr(annotations, "outputs_of", lambda *_: [])
    monkeypatch.setattr(annotations, "frame_sizes", lambda *_: lambda outputs: 1e8)
    monkeypatch.setattr(annotations, "join", joined)
    run = SimpleNamespace(session=cluster.session, storage=None, policy=Policy())
    frames, left_out = annotations.frames_in_cluster(run, SimpleNamespace(outputs={}), EMPTY, ("train",), stage="fusion")
    assert left_out == {}
    assert ray.get(ray.remote(num_cpus=0.1)(lambda data: data[1]).remote(frames)) == machine.node_id
    other = cluster.add_node(num_cpus=1, object_store_memory=MEMORY, resources={"other": 1})
    group = placement_group([{"CPU": 1, "other": 1}])  # as Ray Tune's: it keeps its CPU while the trial waits for an object
    try:
        ray.get(group.ready(), timeout=TIMEOUT_S)
        cluster.remove_node(machine)
        in_group = PlacementGroupSchedulingStrategy(group)
        trial = ray.remote(num_cpus=1, scheduling_strategy=in_group)(lambda references: ray.get(references[0])[1])
        assert ray.get(trial.remote([frames]), timeout=TIMEOUT_S) == other.node_id
    finally:
        remove_placement_group(group)
        cluster.remove_node(other)


def test_tasks_without_a_head_to_avoid_run_anywhere():
    assert not_on([]) is None
    assert not_on(["b", "a"]) == {"ray.io/node-id": "!in(a,b)"}
