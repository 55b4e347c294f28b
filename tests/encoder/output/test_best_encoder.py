import pytest
import torch

from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.checkpoint import load_encoder
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.output.best import BestEncoder
from abaw_ray.encoder.output.head import load_head


@pytest.fixture
def storage(tmp_path):
    return Storage(StorageConfig(uri=str(tmp_path / "store")))


def train(model, storage, scores, start=0):
    """Keep the best encoder of epochs with these scores; the encoder of an epoch has its number as the first weight."""
    for epoch in range(start + 1, len(scores) + 1):
        with torch.no_grad():
            model.encoder.vit.norm.bias[0] = epoch
            model.head.router.bias[0] = epoch
        BestEncoder(storage, "run").keep(model, ("one", "two", "three"), [{"mean_macro_f1": score} for score in scores[:epoch]])


def kept(storage):
    return sorted({int(name.partition("/")[0]) for name in storage.files("run/best", recursive=True)})


def test_the_encoder_of_the_best_epoch_is_kept_and_no_older_one_that_a_resumed_run_does_not_need(config, storage, tmp_path):
    model = ExpressionModel(config)
    train(model, storage, [0.1, 0.2, 0.3, 0.25, 0.2, 0.35])
    assert kept(storage) == [3, 6], "epoch 3 is the best for a run that resumes from the checkpoint of epoch 5"
    BestEncoder(storage, "run").fetch(6, tmp_path / "best")
    assert load_encoder(tmp_path / "best").vit.norm.bias[0] == 6
    head, classes = load_head(tmp_path / "best")
    assert head.router.bias[0] == 6 and classes == ("one", "two", "three")


def test_a_run_that_takes_an_epoch_again_with_another_score_still_has_its_best(config, storage):
    model = ExpressionModel(config)
    train(model, storage, [0.1, 0.3, 0.2, 0.4])
    train(model, storage, [0.1, 0.3, 0.2, 0.25, 0.2], start=3)  # the checkpoint of epoch 4 was lost
    assert 2 in kept(storage)
