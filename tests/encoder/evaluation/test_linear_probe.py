from dataclasses import replace

import numpy as np
import pytest

from abaw_ray.encoder.evaluation.probe import linear_probe, probe_encoder, probe_rows
from abaw_ray.encoder.evaluation.sets import ValidationSet
from abaw_ray.encoder.expression_model import ExpressionModel
from abaw_ray.encoder.task import EncoderTask, RankContext

SETS = (ValidationSet(name="any", source="any", classes=(0, 1, 2)),)


def vectors(count, seed, spread=0.3):
    """Vectors around one point per class."""
    labels = np.arange(count) % 3
    points = 4 * np.random.default_rng(0).normal(size=(3, 8))
    return (points[labels] + spread * np.random.default_rng(seed).normal(size=(count, 8))).astype(np.float32), labels


def probe(train, val):
    return linear_probe(train, val, np.full(len(val[1]), "any", dtype=object), SETS, classes=4)


def test_separable_vectors_have_a_perfect_probe_and_noise_has_one_at_chance():
    found = probe(vectors(300, 1), vectors(90, 2))
    assert found["data_sets"]["any"] == {"macro_f1": 1.0, "accuracy": 1.0, "images": 90}
    assert (found["train_images"], found["converged"]) == (300, True)
    noise, labels = vectors(300, 1)
    rng = np.random.default_rng(4)
    assert probe((noise, rng.permutation(labels)), vectors(90, 2, spread=30))["data_sets"]["any"]["macro_f1"] < 0.5


def test_a_class_without_training_images_is_never_predicted():
    train, labels = vectors(300, 1)
    found = probe((train[labels != 2], labels[labels != 2]), vectors(90, 2))
    assert found["data_sets"]["any"]["accuracy"] == pytest.approx(2 / 3)


def test_the_sample_has_at_most_so_many_images_of_each_class_and_is_the_same_for_the_same_seed():
    labels, rows = np.array([0] * 50 + [1] * 4 + [2] * 30), np.arange(2, 84)
    sample = probe_rows(labels, rows, 10, seed=0)
    assert np.bincount(labels[sample]).tolist() == [10, 4, 10]
    assert set(sample) <= set(rows) and (np.diff(sample) > 0).all()
    assert (probe_rows(labels, rows, 10, seed=0) == sample).all()
    assert (probe_rows(labels, rows, 10, seed=1) != sample).any()


def test_the_vectors_of_all_ranks_together_are_those_of_one(config, images):
    model, rows = ExpressionModel(config), np.array([3, 1, 8, 4, 100])
    wanted = EncoderTask(config, images).vectors(model, rows)
    assert wanted.shape == (5, 32) and (wanted != 0).all()
    parts = []

    def record(values):
        parts.append(values)
        return values

    for rank in range(2):
        EncoderTask(config, images, RankContext(rank=rank, world_size=2, mean_over_ranks=record)).vectors(model, rows, batch_size=2)
    np.testing.assert_allclose(sum(parts).numpy(), wanted, atol=1e-5)


def test_the_probe_of_an_untrained_encoder_is_above_chance_on_rank_0_only(config, images):
    model = ExpressionModel(config).train()
    found = probe_encoder(EncoderTask(config, images), model, rank=0)
    assert [found["data_sets"][name]["images"] for name in ("even", "odd")] == [23, 22]
    assert min(scores["macro_f1"] for scores in found["data_sets"].values()) > 0.5
    assert model.training
    assert probe_encoder(EncoderTask(config, images), model, rank=1) is None


def test_no_probe_is_trained_without_images_for_it_or_with_a_single_class(config, many):
    model, images = ExpressionModel(config), many()
    assert probe_encoder(EncoderTask(replace(config, probe_images_per_class=0), images), model, rank=0) is None
    task = EncoderTask(config, images)
    images.labels[:] = 1
    assert probe_encoder(task, model, rank=0) is None
