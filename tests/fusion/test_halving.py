"""Successive halving inside a population, and the weights that it keeps."""

from dataclasses import replace

import numpy as np
import torch

from abaw_ray.fusion.config import FusionConfig, SweepConfig
from abaw_ray.fusion.population.config import HalvingConfig
from abaw_ray.fusion.population.epochs import choose_epochs
from abaw_ray.fusion.population.halving import best_positions, train_with_halving
from abaw_ray.fusion.population.rows import TrainingFolds
from abaw_ray.fusion.population.training import Population
from abaw_ray.fusion.search import run_population
from abaw_ray.scoring.config import SmoothingGridConfig

BASE = FusionConfig(hidden_dim=32, rows_per_second=0, batch_size=64)


def test_halving_stops_the_worse_half_at_every_rung_and_keeps_the_weights_of_the_others(frames, train, held_out):
    slow = [replace(BASE, optim=replace(BASE.optim, lr=lr)) for lr in (1e-6, 1e-3, 3e-3, 1e-6, 1e-6)]
    trained = []
    population = Population(frames, slow, TrainingFolds(train, held_out), device="cpu")
    curves = train_with_halving(population, 5, HalvingConfig(grace_epochs=1), lambda *call: trained.append(call), all_epochs=True)
    assert trained == [(1, 5), (2, 3), (3, 2), (4, 2), (5, 2)]
    assert [len(curve.loss) for curve in curves].count(5) == 2
    assert {len(curves[number].loss) for number in (1, 2)} == {5}
    assert [sorted(curve.weights) for curve in curves] == [[1, 2, 3, 4, 5] if len(curve.loss) == 5 else [] for curve in curves]
    assert curves[1].plain()[4]["epoch"] == 5
    assert curves[1].macro_f1()[4] > curves[1].macro_f1()[0]


def test_a_candidate_that_is_never_stopped_reaches_the_last_epoch_besides_the_best(frames, train, held_out):
    slow = [replace(BASE, optim=replace(BASE.optim, lr=lr)) for lr in (1e-6, 1e-3, 3e-3, 1e-6, 1e-6)]
    with_first, without = (
        train_with_halving(
            Population(frames, slow, TrainingFolds(train, held_out), device="cpu"),
            5,
            HalvingConfig(grace_epochs=1),
            all_epochs=True,
            never_stopped=never_stopped,
        )
        for never_stopped in ((0,), ())
    )
    assert [number for number, curve in enumerate(with_first) if curve.weights] == [0, 1, 2]
    assert [number for number, curve in enumerate(without) if curve.weights] == [1, 2]
    for number in (1, 2):
        assert with_first[number].loss == without[number].loss


def test_the_unchanged_settings_of_a_population_are_never_stopped(frames):
    folds = {subject.name: index % 3 for index, subject in enumerate(frames.subjects) if subject.split == "train"}
    poor = replace(BASE, epochs=3, optim=replace(BASE.optim, lr=1e-7))
    smoothing = SmoothingGridConfig(windows=1, min_s=0.4, max_s=0.4)
    config = SweepConfig(fusion=poor, folds=3, halving=HalvingConfig(grace_epochs=1, reduction=3, finalists=1), smoothing=smoothing)
    overrides = [{"optim.lr": 1e-7, "dropout": 0.5}, {"optim.lr": 3e-3}, {}]
    rows = run_population(frames, folds, config, overrides, default=0, device="cpu")
    assert [row["stopped"] for row in rows] == [True, False, False]
    assert max(epoch["macro_f1"] for epoch in rows[2]["curve"]) < max(epoch["macro_f1"] for epoch in rows[1]["curve"])


def test_only_the_epochs_that_can_be_chosen_keep_their_weights_and_these_are_the_same(frames, train, held_out):
    fast = [replace(BASE, optim=replace(BASE.optim, lr=lr)) for lr in (3e-2, 1e-2)]
    whole, lean = (
        train_with_halving(Population(frames, fast, TrainingFolds(train, held_out), device="cpu"), 8, HalvingConfig(reduction=1), all_epochs=every)
        for every in (True, False)
    )
    for one, other in zip(whole, lean, strict=True):
        choice = choose_epochs(np.stack(one.counts))
        assert other.weights.keys() == choice.numbers and len(one.weights) == 8
        for epoch, weights in other.weights.items():
            assert all(torch.equal(one.weights[epoch][name], values) for name, values in weights.items())
    assert min(len(curve.weights) for curve in lean) < 8


def test_the_rungs_are_at_powers_of_the_reduction():
    assert [epoch for epoch in range(1, 40) if HalvingConfig(grace_epochs=2).is_rung(epoch)] == [2, 4, 8, 16, 32]
    assert [epoch for epoch in range(1, 40) if HalvingConfig(grace_epochs=3, reduction=3).is_rung(epoch)] == [3, 9, 27]
    assert not any(HalvingConfig(reduction=1).is_rung(epoch) for epoch in range(1, 40))


def test_the_first_of_equal_candidates_continues():
    assert best_positions([0.2, 0.5, 0.5, 0.5], HalvingConfig()) == [1, 2]
