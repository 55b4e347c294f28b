from dataclasses import replace

import numpy as np
import pytest
import torch

from abaw_ray.core.errors import DataError
from abaw_ray.fusion.config import FusionConfig
from abaw_ray.fusion.population.blocks import FoldBlocks
from abaw_ray.fusion.population.rows import FoldBatches, SubjectSums, TrainingFolds
from abaw_ray.fusion.population.stacked import StackedMembers
from abaw_ray.fusion.population.training import Population

BASE = FusionConfig(hidden_dim=32, rows_per_second=0, batch_size=64)
CANDIDATES = [
    replace(
        BASE,
        dropout=0.1 * number,
        modality_dropout=0.2 * number,
        optim=replace(BASE.optim, lr=1e-3 * (number + 1), weight_decay=0.1 * number, max_grad_norm=float(number)),
        loss=replace(BASE.loss, balancing_power=0.4 * number, label_smoothing=0.05 * number, class_balancing=("weights", "logits", "none")[number]),
    )
    for number in range(3)
]


CONV, ATTENTION = ({"head": head, "rows_per_second": 5.0} for head in ("conv", "attention"))


@pytest.fixture(params=[FoldBlocks, StackedMembers])
def members(request):
    """How members are computed on a CPU, and on a GPU."""
    return request.param


def averaged(population, candidate):
    return {name: value[candidate] for name, value in population.members.average.items()}


def equal(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def with_settings(**changes):
    return [replace(one, **changes) for one in CANDIDATES]


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, CONV, ATTENTION])
def test_a_candidate_trains_bit_for_bit_as_it_would_alone(frames, train, held_out, members, changes):
    candidates = with_settings(**changes)
    together = Population(frames, candidates, TrainingFolds(train, held_out), device="cpu", members=members)
    losses = [together.train_epoch() for _ in range(2)]
    for number, candidate in enumerate(candidates):
        alone = Population(frames, [candidate], TrainingFolds(train, held_out), device="cpu", members=members)
        for epoch in range(2):
            np.testing.assert_array_equal(alone.train_epoch()[0], losses[epoch][number])
        assert equal(averaged(together, number), averaged(alone, 0))
        np.testing.assert_array_equal(together.score()[number], alone.score()[0])


def test_a_fold_trains_bit_for_bit_as_it_would_alone(frames, train, held_out, members):
    together = Population(frames, CANDIDATES, TrainingFolds(train, held_out), device="cpu", members=members)
    alone = Population(frames, CANDIDATES, TrainingFolds(train[1:2], held_out[1:2], numbers=[1], paced_by=train), device="cpu", members=members)
    for population in (together, alone):
        population.train_epoch()
    first, second = together.members.average, alone.members.average
    assert all(torch.equal(first[name][:, 1], second[name][:, 0]) for name in first)


def test_the_first_averaged_weights_are_those_of_a_short_first_epoch(frames, train, held_out):
    candidates = with_settings(batch_size=256)
    population = Population(frames, candidates, TrainingFolds(train, held_out), device="cpu", members=StackedMembers)
    assert population.batches.steps(256) < BASE.optim.average_every
    initial = population.weights(0)
    population.train_epoch()
    assert isinstance(population.members, StackedMembers)
    trained = {name: value[0].clone() for name, value in population.members.model.named_parameters()}
    assert equal(averaged(population, 0), trained) and not equal(initial, trained)
    population.train_epoch()
    assert not equal(averaged(population, 0), trained)


def test_candidates_that_remain_continue_as_if_none_had_been_dropped(frames, train, held_out, members):
    all_of_them, some = (Population(frames, CANDIDATES, TrainingFolds(train, held_out), device="cpu", members=members) for _ in range(2))
    for population in (all_of_them, some):
        population.train_epoch()
    some.keep([2, 0])
    all_of_them.train_epoch()
    some.train_epoch()
    assert equal(averaged(some, 0), averaged(all_of_them, 2))
    assert equal(averaged(some, 1), averaged(all_of_them, 0))


@pytest.mark.parametrize("changes", [{}, {"gate": "dimension"}, CONV, ATTENTION])
def test_members_fold_by_fold_and_stacked_members_are_the_same_models(frames, train, held_out, changes):
    candidates, folds = with_settings(**changes), TrainingFolds(train, held_out)
    blocks, stacked = (Population(frames, candidates, folds, device="cpu", members=kind) for kind in (FoldBlocks, StackedMembers))
    np.testing.assert_allclose(blocks.train_epoch(), stacked.train_epoch(), rtol=1e-4)
    for name, value in blocks.members.average.items():
        if "projections" not in name:  # no loss depends on the biases of the keys: rounding determines their steps
            torch.testing.assert_close(value, stacked.members.average[name], rtol=1e-3, atol=5e-4)
    assert np.abs(blocks.score() - stacked.score()).sum() <= 0.01 * blocks.score().sum()


def test_products_in_bfloat16_train_nearly_the_same_models(frames, train, held_out, members):
    exact, rounded = (
        Population(frames, with_settings(precision=precision), TrainingFolds(train, held_out), device="cpu", members=members)
        for precision in ("float32", "bf16")
    )
    first, second = exact.train_epoch(), rounded.train_epoch()
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first, second, rtol=0.02)
    assert {value.dtype for value in rounded.members.average.values()} == {torch.float32}


def test_by_default_a_cpu_computes_in_single_precision(frames, train, held_out):
    populations = [Population(frames, with_settings(precision=one), TrainingFolds(train, held_out), device="cpu") for one in ("auto", "float32")]
    np.testing.assert_array_equal(*(population.train_epoch() for population in populations))


def test_every_setting_of_a_candidate_has_an_effect_on_its_own_weights(frames, train, held_out):
    changed = [
        replace(BASE, dropout=0.5),
        replace(BASE, modality_dropout=0.7),
        replace(BASE, optim=replace(BASE.optim, lr=2e-3)),
        replace(BASE, optim=replace(BASE.optim, weight_decay=1.0)),
        replace(BASE, optim=replace(BASE.optim, max_grad_norm=0.01)),
        replace(BASE, loss=replace(BASE.loss, balancing_power=0.0)),
        replace(BASE, loss=replace(BASE.loss, label_smoothing=0.3)),
    ]
    population = Population(frames, [BASE, BASE, *changed], TrainingFolds(train, held_out), device="cpu")
    population.train_epoch()
    assert equal(averaged(population, 0), averaged(population, 1))
    for number in range(2, len(changed) + 2):
        assert not equal(averaged(population, 0), averaged(population, number)), changed[number - 2]


def test_frames_of_held_out_subjects_affect_no_member_of_their_fold(frames, train, held_out):
    changed = frames.visual.copy()
    rows = held_out[1][frames.subject_index]
    changed[rows] = 3
    labels = np.where(rows & (frames.labels >= 0), 5, frames.labels).astype(np.int8)
    one, other = (
        Population(data, [BASE], TrainingFolds(train, held_out), device="cpu") for data in (frames, replace(frames, visual=changed, labels=labels))
    )
    for population in (one, other):
        population.train_epoch()
    first, second = averaged(one, 0), averaged(other, 0)
    assert all(torch.equal(first[name][1], second[name][1]) for name in first)
    assert not all(torch.equal(first[name][0], second[name][0]) for name in first)


def test_a_member_gives_the_scores_that_the_population_counted(frames, train, held_out):
    population = Population(frames, CANDIDATES[:2], TrainingFolds(train, held_out), device="cpu")
    population.train_epoch()
    counts, rows = population.score(), population.batches.scored_rows()[:, 0]
    for fold, mask in enumerate(held_out):
        model = population.member(population.candidates[1], population.weights(1), fold)
        own = rows[mask[frames.subject_index[rows]]]
        with torch.inference_mode():
            logits, _ = model(*population.data.inputs(own))
        hits = int((logits.argmax(dim=1).numpy() == frames.labels[own]).sum())
        assert counts[1, fold].sum() == len(own)
        assert abs(hits - np.trace(counts[1, fold])) <= 1  # a single product may round a tie differently


def test_candidates_of_different_architectures_are_refused(frames, train, held_out):
    with pytest.raises(ValueError, match="same architecture"):
        Population(frames, [BASE, replace(BASE, hidden_dim=16)], TrainingFolds(train, held_out))


def test_frames_without_labels_raise_a_data_error(frames, train, held_out):
    with pytest.raises(DataError, match="is labelled and has a vector"):
        Population(replace(frames, labels=np.full(len(frames), -1, np.int8)), [BASE], TrainingFolds(train, held_out))


def test_mean_and_standard_deviation_follow_from_the_sums_of_the_subjects(frames):
    rows = np.flatnonzero(frames.seen)
    sums = SubjectSums.of(frames.visual, rows, frames.subject_index, len(frames.subjects))
    used = np.arange(len(frames.subjects)) % 2 == 0
    mean, std = sums.moments(used)
    expected = frames.visual[rows[used[frames.subject_index[rows]]]].astype(np.float64)
    np.testing.assert_allclose(mean, expected.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(std, expected.std(axis=0), rtol=1e-9)


def test_a_constant_feature_and_a_set_without_rows_are_not_divided_by_zero(frames):
    visual = frames.visual.copy()
    visual[:, 0] = 3
    sums = SubjectSums.of(visual, np.arange(len(frames)), frames.subject_index, len(frames.subjects))
    mean, std = sums.moments(np.ones(len(frames.subjects), dtype=bool))
    assert (mean[0], std[0]) == (3, 1)
    mean, std = sums.moments(np.zeros(len(frames.subjects), dtype=bool))
    assert not mean.any()
    assert (std == 1).all()


def test_an_epoch_takes_one_row_of_each_interval_and_another_epoch_other_rows(frames):
    used = np.flatnonzero(frames.labels >= 0)
    all_subjects = np.ones(len(frames.subjects), dtype=bool)
    batches = FoldBatches(frames, used, TrainingFolds([all_subjects]), replace(BASE, rows_per_second=2.0))
    first, second = (np.unique(batches.epoch(epoch, 16, seed=0)) for epoch in (0, 1))
    keys = {(int(frames.subject_index[row]), int(np.floor(frames.time[row] * 2))) for row in used}
    taken = [(int(frames.subject_index[row]), int(np.floor(frames.time[row] * 2))) for row in first]
    assert len(taken) == len(set(taken))
    assert abs(len(taken) - len(keys)) <= 8  # the last batch is filled up, or left out
    assert len(np.intersect1d(first, second)) < 0.8 * len(first)
    np.testing.assert_array_equal(batches.epoch(3, 16, seed=0), batches.epoch(3, 16, seed=0))


def test_the_rows_of_a_fold_are_those_of_its_training_subjects(frames, train, held_out):
    batches = FoldBatches(frames, np.flatnonzero(frames.labels >= 0), TrainingFolds(train), BASE)
    rows = batches.epoch(0, 64, seed=0)
    assert rows.shape == (batches.steps(64), 3, 64)
    for fold, mask in enumerate(held_out):
        assert not mask[frames.subject_index[rows[:, fold]]].any()
