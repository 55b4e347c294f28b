"""Stage I on a local Ray: two workers, one of them killed on the way, against the same training in this process."""

import contextlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "encoder"))

from drawn_images import CONFIG, drawn_table

from abaw_ray.cluster.engine.compute import ComputeConfig
from abaw_ray.cluster.engine.session import RaySession
from abaw_ray.cluster.training.rank import first_error
from abaw_ray.cluster.training.trainer import train_encoder
from abaw_ray.core.errors import ConfigError, DataError, StageError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.records import Item, StageStore
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import node_images
from abaw_ray.encoder.model import load_encoder
from abaw_ray.encoder.task import EncoderTask, ExpressionModel
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.optim import make_adamw, rate_share

pytestmark = pytest.mark.slow
SETTINGS = replace(CONFIG, epochs=6, zero=2, moe=replace(CONFIG.moe, balance=0.01))
ITEM = Item(name="run", identity="drawn")


def title(process):
    """A process's first word; of one that has just ended, nothing."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return "".join(process.cmdline()[:1])
    return ""


def kill_a_worker():
    """Kill one of the training's workers that this process's Ray has started; returns how many there were."""
    workers = [child for child in psutil.Process().children(recursive=True) if "TrainWorker" in title(child)]
    workers[-1].kill()
    return len(workers)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    storage = Storage(StorageConfig(uri=str(tmp_path_factory.mktemp("encoder"))))
    storage.write_table("images/train.parquet", drawn_table(96, split="train", seed=1))
    storage.write_table("images/val.parquet", drawn_table(31, split="val", seed=2))
    return StageStore(storage, "encoder", SETTINGS, 1)


SHARDS = ["images/train.parquet", "images/val.parquet"]


@pytest.fixture(scope="module")
def ray():
    compute = ComputeConfig(object_store_mb=80)
    with RaySession(compute) as engine:
        engine.start()
        yield compute


@pytest.fixture(scope="module")
def disturbed(store, ray):
    """The figures of a run, and what the driver was told: it loses a worker in its first epoch, after it heard that a machine goes, and one
    after that epoch.
    """
    told, killed = [], []

    def heed():
        return frozenset({"a machine"})

    def on_report(figures):
        told.append(figures)
        if len(killed) < 2 and ("leaving" in figures) == (not killed):
            killed.append(kill_a_worker())

    figures = train_encoder(
        store=store, item=ITEM, shards=SHARDS, config=SETTINGS, compute=replace(ray, heed_seconds=0), on_report=on_report, heed=heed
    )
    assert killed == [2, 2]
    return figures, told


def test_a_lost_worker_costs_no_finished_epoch_and_every_epoch_is_told(disturbed):
    figures, told = disturbed
    seen = [report["epoch"] for report in told if "epoch" in report]
    assert [line["epoch"] for line in figures["curve"]] == [1, 2, 3, 4, 5, 6]
    assert sorted(set(seen)) == [1, 2, 3, 4, 5, 6]
    assert seen.count(1) == 1


def test_a_machine_that_is_about_to_go_costs_no_step(disturbed):
    steps = [report["step"] for report in disturbed[1] if "leaving" in report]
    assert steps[0] == 1 and steps.count(1) == 1, "what was trained before the checkpoint was not trained again"
    assert len(steps) == 3, "each group of workers heeds a machine once"


def test_two_workers_and_two_losses_train_what_one_process_trains(store, disturbed, tmp_path):
    task, model = EncoderTask(SETTINGS, node_images(store.storage, SHARDS, tmp_path)), ExpressionModel(SETTINGS)
    engine = PlainEngine(model, make_adamw(model.groups(SETTINGS), SETTINGS.optim), clip=SETTINGS.optim.clip)
    steps = SETTINGS.epochs * task.steps_per_epoch
    for line in disturbed[0]["curve"]:
        epoch = range((line["epoch"] - 1) * task.steps_per_epoch, line["epoch"] * task.steps_per_epoch)
        losses = run_steps(
            epoch,
            task.pieces,
            lambda piece: task.loss_of(engine, piece),
            engine,
            rate=lambda step: rate_share(step, steps, SETTINGS.optim),
            seed=task.seed,
        )
        assert line["loss"] == pytest.approx(torch.stack(list(losses)).mean().item(), rel=2e-3)
        wanted = task.count(model).figures(SETTINGS.classes)
        assert line["val_images"] == wanted["val_images"] == 31
        assert line["val_loss"] == pytest.approx(wanted["val_loss"], rel=2e-3)


def test_the_part_holds_the_encoder_and_its_curve_and_the_checkpoints_are_gone(store, disturbed):
    assert store.finished([ITEM]) == {"run": store.part(ITEM, "")}
    folder = Path(store.storage.uri(store.part(ITEM, "")))
    encoder = load_encoder(folder / "encoder")
    assert encoder(torch.zeros(2, 3, 28, 28, dtype=torch.uint8)).shape == (2, 32)
    assert json.loads((folder / "curve.json").read_text()) == disturbed[0]["curve"]
    assert store.storage.files(f"{store.path}/runs", recursive=True) == {}


def test_a_finished_run_is_not_trained_again(store, disturbed, monkeypatch):
    monkeypatch.setattr("abaw_ray.cluster.training.trainer._fit", lambda _: pytest.fail("trained again"))
    again = train_encoder(store=store, item=ITEM, shards=SHARDS, config=SETTINGS, compute=ComputeConfig())
    assert again == json.loads(json.dumps(disturbed[0]))


def test_what_no_other_attempt_would_mend_is_refused_as_itself(store, ray):
    with pytest.raises(ConfigError, match="multiple of 3"):
        train_encoder(store=store, item=Item(name="x", identity="3"), shards=SHARDS, config=SETTINGS, compute=replace(ray, train_workers=3))
    lost = replace(SETTINGS, model=replace(SETTINGS.model, weights="/nowhere/weights.safetensors"))
    with pytest.raises(DataError, match="weights.safetensors: no such file"):
        train_encoder(store=store, item=Item(name="y", identity="4"), shards=SHARDS, config=lost, compute=replace(ray, train_workers=1))
    wild = replace(SETTINGS, optim=replace(SETTINGS.optim, lr=1e38))
    with pytest.raises(StageError, match=r"loss is not finite by step 6; lower optim\.lr=1e\+38"):
        train_encoder(store=store, item=Item(name="z", identity="5"), shards=SHARDS, config=wild, compute=replace(ray, train_workers=1))


def test_the_error_of_one_rank_is_that_of_all():
    errors, said, both = [None, DataError("model.weights=/models/vit.pt: no such file")], {}, threading.Barrier(2)

    def told(rank):
        def mean(values):
            said[rank] = values
            both.wait()
            return (said[0] + said[1]) / 2

        return first_error(errors[rank], rank=rank, ranks=2, mean=mean)

    for wanted in (["DataError"] * 2, ["NoneType"] * 2):
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(told, range(2)))
        assert [type(error).__name__ for error in found] == wanted
        assert [str(error) for error in found] == [str(errors[1])] * 2
        errors[1] = None
