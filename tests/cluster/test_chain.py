"""Two operators in a chain: items are decoded on a CPU, then encoded, with only manifest rows between them and a bound on items in flight."""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from ray import cloudpickle
from timeouts import TIMEOUT_S

from abaw_ray.cluster.engine.workers.in_flight import InFlightSlots
from abaw_ray.cluster.engine.workers.outcomes import Outcomes
from abaw_ray.cluster.engine.workers.rounds import Chain, process_items
from abaw_ray.cluster.engine.workers.worker import Operator
from abaw_ray.cluster.machines.resources import Resources
from abaw_ray.cluster.metrics.item_metrics import ItemMetrics
from abaw_ray.cluster.metrics.run_events import RunEvents
from abaw_ray.core.errors import DataError, ItemError
from abaw_ray.core.progress import Progress
from abaw_ray.core.stage_store.record import Item
from abaw_ray.core.stage_store.stage_store import StageStore
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage

pytestmark = pytest.mark.slow

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
ITEMS = 16
RESOURCES = Resources(workers=1, memory_gb=0.1)


class Decode:
    """Writes an item's chips to a file for the encoder, and logs the number of such files."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __call__(self, store, item, payload, take_slot):
        if payload.get("bad"):
            raise ItemError("not a video")
        take_slot()
        (self.folder / f"{item.name}.chips").write_text(json.dumps(payload))
        waiting = len(list(self.folder.glob("*.chips")))
        with (self.folder / "waiting").open("a") as file:
            file.write(f"{waiting}\n")
        return {"frames": 10}


class Encode:
    """Reads an item's chips, writes its output, deletes the chips."""

    def __init__(self, folder, seconds=0.0):
        self.folder, self.seconds = Path(folder), seconds
        (self.folder / "encoder.pid").write_text(str(os.getpid()))

    def __call__(self, store, item, payload):
        if payload.get("wrong"):
            raise DataError("model.safetensors: another width; train it again")
        time.sleep(self.seconds)
        chips = self.folder / f"{item.name}.chips"
        body = json.loads(chips.read_text())
        store.storage.write_table(store.output(item), pa.table({"n": [body["n"]]}))
        chips.unlink(missing_ok=True)
        return {"rows": 1}


class DeadlyEncode(Encode):
    """Kills its process while it encodes an item, as often as the payload says; an item and the one ``beside`` it are in work at the first death."""

    def __call__(self, store, item, payload):
        with self._starts(item.name).open("a") as file:
            file.write("x")
        starts = len(self._starts(item.name).read_text())
        if starts == 1 and "beside" in payload:
            self._wait(lambda: self._starts(payload["beside"]).exists())
        if starts <= payload.get("deaths", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if starts == 1 and "beside" in payload:
            self._wait(lambda: False)  # the process ends first
        return super().__call__(store, item, payload)

    def _starts(self, name):
        return self.folder / f"{name}.starts"

    def _wait(self, until):
        deadline = time.monotonic() + TIMEOUT_S
        while not until():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def chain(session, tmp_path):
    """A function that runs items through both operators; the encoder takes ``seconds`` per item."""
    store = StageStore(Storage(StorageConfig(uri=str(tmp_path / "runs"))), "chain", {}, 1)

    def run(payloads, seconds=0.0, encode=Encode, items_per_worker=1):
        operators = [
            Operator(build=lambda: Decode(tmp_path), resources=RESOURCES),
            Operator(build=lambda: encode(tmp_path, seconds), resources=RESOURCES, items_per_worker=items_per_worker),
        ]
        progress = Progress("chain", len(payloads), "items")
        tasks = [(Item(name=name, identity="1"), payload) for name, payload in payloads.items()]
        metrics = ItemMetrics("chain", "run", RunEvents(), items=len(tasks), on_ray=True)
        process_items(store, tasks, Chain(operators=operators), Outcomes(store, progress, metrics, store.index(), {}))
        return progress, store.finished([item for item, _ in tasks])

    run.store, run.folder = store, tmp_path
    run.most_waiting = lambda: max(map(int, (tmp_path / "waiting").read_text().split()))
    return run


def payloads(count=ITEMS):
    return {f"v{number:02d}": {"n": number} for number in range(count)}


def once_encoding(folder, act, after=4):
    """Call ``act`` with the encoder's process, in a thread, once ``after`` items are finished."""

    def wait():
        while len(list(folder.glob("runs/chain/*/outputs/*.parquet"))) < after:
            time.sleep(0.05)
        act(psutil.Process(int((folder / "encoder.pid").read_text())))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_slow_encoder_bounds_the_decoder(chain):
    progress, outputs = chain(payloads(), seconds=0.3)
    assert len(outputs) == progress.done == ITEMS
    assert chain.most_waiting() <= 2, "two items for each worker of the encoder"
    assert chain.store.storage.read_table(outputs["v07"])["n"].to_pylist() == [7]


def test_a_stopped_encoder_stops_the_decoder_until_it_continues(chain):
    decoded = []

    def stop(encoder):
        encoder.suspend()
        time.sleep(3)
        decoded.append(len((chain.folder / "waiting").read_text().split()))
        time.sleep(2)
        decoded.append(len((chain.folder / "waiting").read_text().split()))
        encoder.resume()

    thread = once_encoding(chain.folder, stop)
    _, outputs = chain(payloads(), seconds=0.2)
    thread.join(timeout=TIMEOUT_S)
    assert len(outputs) == ITEMS and chain.most_waiting() <= 2
    assert decoded[0] == decoded[1] < ITEMS, "the decoder went on while the encoder was stopped"


def test_a_killed_encoder_is_started_again_and_every_item_is_encoded_once(chain):
    thread = once_encoding(chain.folder, lambda encoder: encoder.send_signal(signal.SIGKILL))
    _, outputs = chain(payloads(), seconds=0.2)
    thread.join(timeout=TIMEOUT_S)
    assert len(outputs) == ITEMS and chain.most_waiting() <= 2, "the item that was being encoded keeps its slot until it is repeated"
    tables = [chain.store.storage.read_table(path)["n"].to_pylist() for path in outputs.values()]
    assert tables == [[number] for number in range(ITEMS)]


def test_an_item_that_kills_its_worker_twice_is_a_failure_and_all_others_are_done(chain, capsys):
    deadly = {
        "poison": {"n": 1, "deaths": 99, "beside": "neighbor"},
        "neighbor": {"n": 2, "beside": "poison"},
        "once": {"n": 3, "deaths": 1},
    }
    progress, outputs = chain(deadly | payloads(4), encode=DeadlyEncode, items_per_worker=2)
    assert outputs.keys() == {"neighbor", "once", "v00", "v01", "v02", "v03"} and progress.done == 7
    failures = chain.store.failures([Item(name=name, identity="1") for name in deadly | payloads(4)])
    assert failures.keys() == {"poison"} and "its worker's process died twice while it was processed" in failures["poison"]["reason"]
    starts = {name: len((chain.folder / f"{name}.starts").read_text()) for name in deadly}
    assert starts == {"poison": 2, "neighbor": 2, "once": 2}
    assert capsys.readouterr().out.count("poison: its worker's process died twice") == 1


def test_an_item_that_the_decoder_rejects_does_not_reach_the_encoder_and_releases_its_slot(chain, capsys):
    progress, outputs = chain(payloads(6) | {f"bad{number}": {"bad": True} for number in range(6)})
    assert len(outputs) == 6 and progress.done == 12
    assert capsys.readouterr().out.count("not a video") == 6


def test_an_error_of_the_second_operator_that_ends_the_job_is_raised_unchanged(chain):
    with pytest.raises(DataError, match=r"^model\.safetensors: another width; train it again$"):
        chain({"a": {"n": 1}, "b": {"wrong": True}})


def test_a_second_run_passes_finished_items_through_both_operators(chain):
    chain(payloads(4))
    (chain.folder / "waiting").unlink()
    progress, _ = chain(payloads(6))
    assert progress.done == 6 and len((chain.folder / "waiting").read_text().split()) == 2


def test_slots_of_a_lost_machine_are_released(monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.engine.workers.in_flight._CHECK_S", 0.05)
    monkeypatch.setattr("abaw_ray.cluster.engine.workers.in_flight.alive_nodes", lambda: {"up"})

    async def scenario():
        slots = InFlightSlots(2)
        await slots.acquire("a", "lost")
        await slots.acquire("b", "up")
        await asyncio.wait_for(slots.acquire("c", "up"), 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slots.acquire("d", "up"), 0.3)
        await slots.acquire("b", "up")  # a repeated item that already has a slot does not wait
        await slots.release("c")
        await asyncio.wait_for(slots.acquire("d", "up"), 5)

    asyncio.run(scenario())
