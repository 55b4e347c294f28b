"""The output of Stage I, written by one process: which encoder is where, with which card."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import torch.distributed as dist
from synthetic_images import CONFIG, synthetic_table

from abaw_ray.cluster.machines.compute import ComputeConfig
from abaw_ray.cluster.training.job import RankJob
from abaw_ray.cluster.training.output import write_output
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.checkpoint import load_encoder
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.images import open_image_set
from abaw_ray.encoder.output.best import BestEncoder
from abaw_ray.encoder.task import EncoderTask

SHARDS = ("images/train.parquet", "images/val.parquet")


@pytest.fixture
def storage(tmp_path):
    storage = Storage(StorageConfig(uri=str(tmp_path / "store")))
    for split, count in (("train", 30), ("val", 9)):
        storage.write_table(f"images/{split}.parquet", synthetic_table(count, split=split, seed=1))
    return storage


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def write(storage, folder, select, scores):
    """Write the output of epochs with these scores; the encoder of an epoch has its number as the first bias. Returns the figures and the model."""
    config = replace(CONFIG, select=select, epochs=len(scores))
    task, model = EncoderTask(config, open_image_set(storage, SHARDS, folder)), ExpressionModel(config)
    best, curve = BestEncoder(storage, "run"), []
    for epoch, score in enumerate(scores, start=1):
        metrics = task.validate(model).metrics(config.classes)
        curve.append(metrics | {"epoch": epoch, "epochs": len(scores), "mean_macro_f1": score})
        with torch.no_grad():
            model.encoder.vit.norm.bias[0] = epoch
        best.keep(model, config.classes, curve)
    names = {"stage": "encoder", "run_id": "test", "output": "out", "run": "run"}
    job = RankJob(storage=storage, **names, shards=SHARDS, config=config, compute=ComputeConfig(), is_synthetic=True)
    return write_output(job, task, model, curve, best, num_workers=0), model


def epoch_of(storage, folder):
    return int(load_encoder(Path(storage.uri(f"out/{folder}"))).vit.norm.bias[0])


@pytest.mark.parametrize(("select", "selected", "other"), [("best", 2, 3), ("last", 3, 2)])
def test_the_selected_and_the_other_encoder_are_beside_each_other(storage, process_group, tmp_path, select, selected, other):
    figures, model = write(storage, tmp_path, select, [0.1, 0.6, 0.5])
    assert (epoch_of(storage, "encoder"), epoch_of(storage, "other")) == (selected, other)
    assert figures["epoch"] == figures["selection"]["epoch"] == selected
    assert model.encoder.vit.norm.bias[0] == selected, "the probe is that of the selected encoder"
    assert figures["probe"]["train_images"] == 30
    cards = {folder: storage.read_bytes(f"out/{folder}/README.md").decode() for folder in ("encoder", "other")}
    assert f"Epoch {selected} of 3" in cards["encoder"] and f"Epoch {other} of 3" in cards["other"]
    assert "optimistic" not in cards["other"] and ("optimistic" in cards["encoder"]) == (select == "best")
    assert "not measured" in cards["other"] and "not measured" not in cards["encoder"]
    assert [row["epoch"] for row in json.loads(storage.read_bytes("out/curve.json"))] == [1, 2, 3]


def test_there_is_no_other_encoder_where_the_last_epoch_is_the_best(storage, process_group, tmp_path):
    write(storage, tmp_path, "best", [0.1, 0.6])
    assert epoch_of(storage, "encoder") == 2
    assert not storage.files("out/other", recursive=True)


def test_the_folder_with_its_card_loads_in_timm(storage, process_group, tmp_path):
    _, model = write(storage, tmp_path, "best", [0.6, 0.1])
    loaded = timm.create_model(f"local-dir:{storage.uri('out/encoder')}", pretrained=True).eval()
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixels), model.encoder.vit.eval()(pixels), atol=1e-6, rtol=1e-6)
