from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.moe import Routed
from abaw_ray.encoder.score import Counts
from abaw_ray.encoder.task import EncoderTask, ExpressionModel, Place, pieces_of_share
from abaw_ray.training.loop import PlainEngine, run_steps
from abaw_ray.training.optim import make_adamw, rate_share


def ranks_of(config, images, ranks):
    return [EncoderTask(config, images, Place(rank=rank, ranks=ranks)) for rank in range(ranks)]


def fit(config, images):
    task, model = EncoderTask(config, images), ExpressionModel(config)
    engine = PlainEngine(model, make_adamw(model.groups(config), config.optim), clip=config.optim.clip, pieces=task.pieces_per_step)
    steps = config.epochs * task.steps_per_epoch
    losses = run_steps(
        range(steps),
        task.pieces,
        lambda piece: task.loss_of(engine, piece),
        engine,
        rate=lambda step: rate_share(step, steps, config.optim),
        seed=task.seed,
    )
    return torch.stack(list(losses)), task.count(model).figures(config.classes)


def test_the_loss_falls_and_validation_rises_on_images_that_can_be_told_apart(config, images):
    losses, figures = fit(config, images)
    assert losses[:5].mean() > 0.9
    assert losses[-10:].mean() < 0.6 * losses[:5].mean()
    assert figures["macro_f1"] > 0.85


def test_several_steps_are_taken_on_a_device_that_the_host_cannot_read(config, images):
    task, model = EncoderTask(config, images, Place(device="meta")), ExpressionModel(config).to("meta")
    engine = PlainEngine(model, torch.optim.SGD(model.groups(config)), pieces=task.pieces_per_step)
    steps = run_steps(range(4), task.pieces, lambda piece: task.loss_of(engine, piece), engine, rate=lambda step: 1.0, seed=task.seed, threads=1)
    assert [loss.device.type for loss in steps] == ["meta"] * 4


def test_on_shuffled_labels_validation_stays_at_chance(config, many):
    losses, figures = fit(config, many(shuffled=True))
    assert losses[-10:].mean() > 0.95
    assert figures["macro_f1"] < 0.5


@pytest.mark.parametrize("piece", [16, 4])
def test_a_step_sees_the_same_pixels_whatever_the_number_of_workers(config, images, piece):
    config = replace(config, piece=piece)
    for step in (0, 7, 40):
        alone = EncoderTask(replace(config, piece=16), images).pieces(step)[0]
        pieces = [piece for task in ranks_of(config, images, 2) for piece in task.pieces(step)]
        assert len(pieces) == 2 * (8 // min(8, piece))
        assert torch.equal(torch.cat([piece.pixels for piece in pieces]), alone.pixels)
        assert torch.equal(torch.cat([piece.labels for piece in pieces]), alone.labels)


def test_another_step_and_another_seed_see_other_pixels(config, images):
    first = EncoderTask(config, images).pieces(0)[0].pixels
    assert not torch.equal(EncoderTask(config, images).pieces(11)[0].pixels, first)
    assert not torch.equal(EncoderTask(replace(config, seed=1), images).pieces(0)[0].pixels, first)


@pytest.mark.parametrize("piece", [16, 2])
def test_the_mean_of_two_workers_losses_and_gradients_is_that_of_one_worker(plain_config, images, piece):
    model = ExpressionModel(plain_config)
    alone = EncoderTask(plain_config, images)
    loss = alone.loss_of(model, alone.pieces(3)[0])
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    parts = [task.loss_of(model, part) for task in ranks_of(replace(plain_config, piece=piece), images, 2) for part in task.pieces(3)]
    mean = sum(parts) / len(parts)
    torch.testing.assert_close(mean, loss, atol=1e-5, rtol=1e-4)
    for found, gradient in zip(torch.autograd.grad(mean, list(model.parameters())), wanted, strict=True):
        torch.testing.assert_close(found, gradient, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("ranks", [2, 4])
def test_every_validation_image_is_counted_once_whatever_the_number_of_workers(config, images, ranks):
    model = ExpressionModel(config)
    wanted = EncoderTask(config, images).count(model).sums
    found = sum(task.count(model, batch=4, threads=task.place.rank).sums for task in ranks_of(config, images, ranks))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert wanted[9] == 45


def test_counting_leaves_the_model_in_training(config, images):
    model = ExpressionModel(config).train()
    EncoderTask(config, images).count(model)
    assert model.training


@pytest.mark.parametrize("classes", [4, 5])
def test_figures_agree_with_scikit_learn_and_say_what_the_router_did(classes):
    rng = np.random.default_rng(0)
    counts, labels, logits = Counts(classes, 2), rng.integers(0, 4, 90), rng.normal(size=(90, classes))
    logits[:, 4:] -= 100  # a class that does not occur at all
    for part in (slice(0, 50), slice(50, 90)):
        router = torch.tensor([[1.0, 0.0]]).repeat(len(labels[part]), 1)
        counts.add(Routed(torch.tensor(logits[part]), router, router), torch.tensor(labels[part]))
    figures, predicted = counts.figures("abcde"[:classes]), logits.argmax(axis=1)
    assert figures["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    np.testing.assert_allclose(list(figures["per_class"].values()), f1_score(labels, predicted, average=None, labels=range(classes), zero_division=0))
    assert figures["accuracy"] == pytest.approx((labels == predicted).mean())
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert figures["val_loss"] == pytest.approx(-np.log(chances[np.arange(90), labels]).mean())
    assert (figures["val_images"], figures["router_load"], figures["router_choice"]) == (90, 0, 0)


def test_the_share_of_a_worker_is_cut_into_the_fewest_equal_pieces():
    assert [pieces_of_share(share, 16) for share in (8, 16, 32, 40, 17)] == [1, 1, 2, 4, 17]


def test_settings_and_sets_that_cannot_be_trained_are_refused(config, images, tmp_path):
    with pytest.raises(ConfigError, match="multiple of 3"):
        EncoderTask(config, images, Place(rank=0, ranks=3))
    for change in ({"epochs": 0}, {"global_batch": 0}, {"ingest": replace(config.ingest, scale=1.0)}):
        with pytest.raises(ConfigError, match=next(iter(change)).removesuffix("_batch")):
            replace(config, **change)
    lonely = type(images)(images.path)
    lonely.split[:] = "train"
    with pytest.raises(DataError, match="'val' split is empty"):
        EncoderTask(config, lonely)


def test_every_setting_of_the_paper_stands_in_the_default():
    config = EncoderConfig()
    assert config.classes[-1] == "Contempt"
    assert config.augment.padaug.probability > 0
    assert config.moe.experts > config.moe.active > 0
