from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from abaw_ray.core.errors import ConfigError, DataError
from abaw_ray.encoder.config import EncoderConfig
from abaw_ray.encoder.evaluation.metrics import ValidationSums
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.moe import MoeOutput
from abaw_ray.encoder.task import EncoderTask, RankContext, count_micro_batches
from abaw_ray.training.adamw import SlicedAdamW
from abaw_ray.training.loop import PlainEngine, prefetch, run_steps
from abaw_ray.training.optim import lr_multiplier


def tasks_of_ranks(config, images, world_size, micro_batch_size=0, noise_sizes=None):
    contexts = [RankContext(rank=rank, world_size=world_size, micro_batch_size=micro_batch_size) for rank in range(world_size)]
    return [EncoderTask(config, images, context, noise_sizes=noise_sizes) for context in contexts]


def fit(config, images):
    model = ExpressionModel(config)
    task = EncoderTask(config, images, noise_sizes=model.noise_sizes)
    optimizer = SlicedAdamW(model.parameter_groups(config), config.optim)
    accumulation = task.gradient_accumulation_steps
    engine = PlainEngine(model, optimizer, max_grad_norm=config.optim.max_grad_norm, gradient_accumulation_steps=accumulation)
    steps = config.epochs * task.steps_per_epoch
    losses = run_steps(
        range(steps),
        task.micro_batches,
        lambda micro_batch: task.loss_of(engine, micro_batch),
        engine,
        lr_multiplier=lambda step: lr_multiplier(step, steps, config.optim),
        seed=task.seed,
    )
    return torch.stack(list(losses)), task.validate(model).metrics(config.classes)


def test_the_loss_falls_and_macro_f1_rises_on_separable_images(config, images):
    losses, metrics = fit(config, images)
    assert losses[:5].mean() > 0.9
    assert losses[-10:].mean() < 0.6 * losses[:5].mean()
    assert metrics["macro_f1"] > 0.85


def test_steps_never_read_values_from_the_device(config, images):
    task, model = EncoderTask(config, images, RankContext(device="meta")), ExpressionModel(config).to("meta")
    engine = PlainEngine(model, torch.optim.SGD(model.parameter_groups(config)), gradient_accumulation_steps=task.gradient_accumulation_steps)
    steps = run_steps(
        range(4),
        task.micro_batches,
        lambda micro_batch: task.loss_of(engine, micro_batch),
        engine,
        lr_multiplier=lambda step: 1.0,
        seed=task.seed,
        num_workers=1,
    )
    assert [loss.device.type for loss in steps] == ["meta"] * 4


def test_with_shuffled_labels_macro_f1_stays_at_chance(config, many):
    losses, metrics = fit(config, many(shuffled=True))
    assert losses[-10:].mean() > 0.95
    assert metrics["macro_f1"] < 0.5


@pytest.mark.parametrize("micro_batch_size", [16, 4])
def test_a_step_has_the_same_pixels_for_any_number_of_ranks(config, images, micro_batch_size):
    for step in (0, 7, 40):
        (one_rank,) = EncoderTask(config, images).micro_batches(step)
        two_ranks = [micro_batch for task in tasks_of_ranks(config, images, 2, micro_batch_size) for micro_batch in task.micro_batches(step)]
        assert len(two_ranks) == 2 * (8 // min(8, micro_batch_size))
        assert torch.equal(torch.cat([micro_batch.pixels for micro_batch in two_ranks]), one_rank.pixels)
        assert torch.equal(torch.cat([micro_batch.labels for micro_batch in two_ranks]), one_rank.labels)


@pytest.mark.parametrize("readers", [1, 3])
def test_steps_have_the_same_pixels_and_order_for_any_number_of_readers(config, images, readers):
    task = EncoderTask(config, images, RankContext(micro_batch_size=4))
    alone, beside = ([micro_batch for step in prefetch(range(5), task.micro_batches, count) for micro_batch in step] for count in (0, readers))
    assert len(alone) == 5 * 4
    for one, other in zip(alone, beside, strict=True):
        assert torch.equal(one.pixels, other.pixels) and torch.equal(one.labels, other.labels)
    assert not torch.equal(alone[0].pixels, alone[1].pixels)


def test_another_step_and_another_seed_have_other_pixels(config, images):
    first = EncoderTask(config, images).micro_batches(0)[0].pixels
    assert not torch.equal(EncoderTask(config, images).micro_batches(11)[0].pixels, first)
    assert not torch.equal(EncoderTask(replace(config, seed=1), images).micro_batches(0)[0].pixels, first)


@pytest.fixture
def noisy_config(config):
    """``CONFIG`` with everything that is random or a statistic over samples: stochastic depth, dropout and load balancing."""
    model, moe = replace(config.model, drop_path_rate=0.4), replace(config.moe, dropout=0.3, aux_loss_weight=0.1)
    return replace(config, model=model, moe=moe)


@pytest.mark.parametrize(("world_size", "micro_batch_size"), [(1, 4), (2, 16), (2, 2), (4, 1)])
def test_loss_and_gradient_do_not_depend_on_the_number_of_ranks_and_micro_batches(noisy_config, images, world_size, micro_batch_size):
    model = ExpressionModel(noisy_config).train()
    one_rank = EncoderTask(noisy_config, images, noise_sizes=model.noise_sizes)
    tasks = tasks_of_ranks(noisy_config, images, world_size, micro_batch_size, model.noise_sizes)
    for step in (3, 4):  # the second step uses the experts' load in the first
        loss = one_rank.loss_of(model, one_rank.micro_batches(step)[0])
        wanted = torch.autograd.grad(loss, list(model.parameters()))
        losses = [task.loss_of(model, micro_batch) for task in tasks for micro_batch in task.micro_batches(step)]
        mean = sum(losses) / len(losses)
        torch.testing.assert_close(mean, loss, atol=1e-5, rtol=1e-4)
        for found, gradient in zip(torch.autograd.grad(mean, list(model.parameters())), wanted, strict=True):
            torch.testing.assert_close(found, gradient, atol=1e-5, rtol=1e-3)
        fractions = sum(task.expert_load.fractions for task in tasks) / world_size
        torch.testing.assert_close(fractions, one_rank.expert_load.fractions)
        for task in tasks:  # as the mean over ranks, which these tasks do not have
            task.expert_load.fractions = fractions


@pytest.mark.parametrize(("world_size", "micro_batch_size"), [(1, 16), (2, 2), (4, 1)])
def test_the_loss_is_the_mean_weighted_by_data_set_and_class_for_any_number_of_ranks(config, images, world_size, micro_batch_size):
    config = replace(config, source_weights=("odd=2.5",), moe=replace(config.moe, aux_loss_weight=0.0))
    model, tasks = ExpressionModel(config).eval(), tasks_of_ranks(config, images, world_size, micro_batch_size)
    train, step = images.rows("train"), 5
    factors = np.where(images.source[train] == "odd", 2.5, 1.0)
    counts = np.bincount(images.labels[train], weights=factors)
    weights = factors * (counts.max() / counts)[images.labels[train]]
    indices = tasks[0].sampler.indices(step)
    assert len(set(factors[indices])) == 2
    with torch.no_grad():
        batches = [micro_batch for task in tasks for micro_batch in task.micro_batches(step)]
        losses = [task.loss_of(model, micro_batch) for task in tasks for micro_batch in task.micro_batches(step)]
        logits = torch.cat([model(micro_batch.pixels).logits for micro_batch in batches])
        each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(images.labels[train[indices]]), reduction="none").numpy()
    assert float(sum(losses) / len(losses)) == pytest.approx(np.average(each, weights=weights[indices]), rel=1e-5)


def test_data_sets_of_equal_weight_give_the_steps_of_no_weights(config, images):
    weighted = EncoderTask(replace(config, source_weights=("even=3", "odd=3")), images).micro_batches(2)[0]
    plain = EncoderTask(config, images).micro_batches(2)[0]
    assert torch.equal(weighted.pixels, plain.pixels)
    torch.testing.assert_close(weighted.weights * weighted.loss_scale, plain.weights * plain.loss_scale)


def test_weights_that_name_no_data_set_or_no_factor_are_refused(config, images):
    with pytest.raises(ConfigError, match=r"no training image is of the data set 'rafdb'; the training images are of even, odd"):
        EncoderTask(replace(config, source_weights=("rafdb=2",)), images)
    for pair in ("rafdb", "rafdb=0", "rafdb=-1", "rafdb=inf", "rafdb=nan", "=2"):
        with pytest.raises(ConfigError, match="is not <data set>=<factor above 0>"):
            EncoderConfig(source_weights=(pair,))
    with pytest.raises(ConfigError, match="'rafdb' is given twice"):
        EncoderConfig(source_weights=("rafdb=2", "rafdb=3"))


def test_stochastic_depth_changes_the_loss_and_differs_between_steps(noisy_config, images):
    model = ExpressionModel(noisy_config).train()
    task = EncoderTask(noisy_config, images, noise_sizes=model.noise_sizes)
    (micro_batch,), (later,) = task.micro_batches(3), task.micro_batches(4)
    with torch.no_grad():
        losses = {float(task.loss_of(model, micro_batch._replace(noise=noise))) for noise in (micro_batch.noise, later.noise)}
        losses.add(float(task.loss_of(model.eval(), micro_batch)))
    assert len(losses) == 3


@pytest.mark.parametrize("world_size", [2, 4])
def test_every_validation_image_is_counted_once_for_any_number_of_ranks(config, images, world_size):
    model = ExpressionModel(config)
    wanted = EncoderTask(config, images).validate(model).sums
    found = sum(task.validate(model, batch_size=4, num_workers=task.context.rank).sums for task in tasks_of_ranks(config, images, world_size))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    assert wanted[9] == 45


def test_validation_leaves_the_model_in_training_mode(config, images):
    model = ExpressionModel(config).train()
    EncoderTask(config, images).validate(model)
    assert model.training


@pytest.mark.parametrize("classes", [4, 5])
def test_metrics_agree_with_scikit_learn_and_describe_the_router(classes):
    rng = np.random.default_rng(0)
    sums, labels, logits = ValidationSums(classes, 2), rng.integers(0, 4, 90), rng.normal(size=(90, classes))
    logits[:, 4:] -= 100  # a class that does not occur at all
    for rows in (slice(0, 50), slice(50, 90)):
        router = torch.tensor([[1.0, 0.0]]).repeat(len(labels[rows]), 1)
        sums.add(MoeOutput(torch.tensor(logits[rows]), router, router), torch.tensor(labels[rows]), np.full(len(labels[rows]), "any"))
    metrics, predicted = sums.metrics("abcde"[:classes]), logits.argmax(axis=1)
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    np.testing.assert_allclose(list(metrics["per_class"].values()), f1_score(labels, predicted, average=None, labels=range(classes), zero_division=0))
    assert metrics["accuracy"] == pytest.approx((labels == predicted).mean())
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert metrics["val_loss"] == pytest.approx(-np.log(probabilities[np.arange(90), labels]).mean())
    assert (metrics["val_images"], metrics["router_load_entropy"], metrics["router_choice_entropy"]) == (90, 0, 0)


def test_a_local_batch_is_split_into_the_fewest_equal_micro_batches():
    assert [count_micro_batches(local_batch_size, 16) for local_batch_size in (8, 16, 32, 40, 17)] == [1, 1, 2, 4, 17]


def test_settings_and_image_sets_that_cannot_train_are_refused(config, images, tmp_path):
    with pytest.raises(ConfigError, match="multiple of 3"):
        EncoderTask(config, images, RankContext(rank=0, world_size=3))
    for change in ({"epochs": 0}, {"global_batch_size": 0}, {"ingest": replace(config.ingest, scale=1.0)}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            replace(config, **change)
    train_only = type(images)(images.path)
    train_only.split[:] = "train"
    with pytest.raises(DataError, match="'val' split is empty"):
        EncoderTask(config, train_only)


def test_the_defaults_have_padaug_contempt_and_a_sparse_mixture_of_experts():
    config = EncoderConfig()
    assert config.classes[-1] == "Contempt"
    assert config.augment.padaug.probability > 0
    assert config.moe.num_experts > config.moe.top_k > 0


def test_images_without_a_face_are_left_out_of_training_but_not_of_validation(config, images, monkeypatch):
    has_face = np.ones(len(images), dtype=bool)
    has_face[images.rows("train")[:100]] = has_face[images.rows("val")[:5]] = False
    monkeypatch.setattr(images, "has_face", has_face)
    skipped, used = EncoderTask(config, images), EncoderTask(replace(config, no_face="whole"), images)
    assert (len(skipped.train), len(skipped.val)) == (200, 45) and has_face[skipped.train].all()
    assert (len(used.train), len(used.val)) == (300, 45)
    monkeypatch.setattr(images, "has_face", np.zeros(len(images), dtype=bool))
    with pytest.raises(DataError, match="no face was found in any training image; set encoder.no_face to whole"):
        EncoderTask(config, images)
