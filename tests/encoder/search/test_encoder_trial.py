from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ray.tune.schedulers import ASHAScheduler
from synthetic_images import CONFIG, synthetic_table

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.storage.filesystems import StorageConfig
from abaw_ray.core.storage.storage import Storage
from abaw_ray.encoder.images import open_image_set
from abaw_ray.encoder.search.candidates import expected_epochs, sample_candidates
from abaw_ray.encoder.search.config import EncoderSearchConfig, EncoderSearchSpaceConfig
from abaw_ray.encoder.search.trial import EncoderTrial, candidate_config, subset

SEARCH = EncoderSearchConfig(trials=9, images=64, epochs=4)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    storage = Storage(StorageConfig(uri=str(folder)))
    storage.write_table("a.parquet", synthetic_table(96, split="train", seed=1))
    storage.write_table("b.parquet", synthetic_table(30, split="val", seed=2))
    return open_image_set(storage, ["a.parquet", "b.parquet"], folder)


def test_the_first_candidate_changes_nothing_and_the_others_lie_in_the_space():
    first, *others = sample_candidates(SEARCH)
    space = SEARCH.space
    assert first == {} and len(others) == 8
    for overrides in others:
        assert space.lr[0] <= overrides["optim.lr"] <= space.lr[1]
        assert overrides["optim.layer_decay"] in space.layer_decay and overrides["augment.strength"] in space.strength
    assert len({overrides["optim.lr"] for overrides in others}) == 8


def test_a_larger_search_begins_with_the_candidates_of_a_smaller_one():
    assert sample_candidates(replace(SEARCH, trials=20))[:9] == sample_candidates(SEARCH)


def test_overrides_become_settings_of_the_encoder():
    config = candidate_config(CONFIG, SEARCH, {"optim.lr": 0.5, "optim.layer_decay": 0.9, "augment.strength": 1.5})
    assert (config.optim.lr, config.optim.layer_decay, config.augment.strength, config.epochs) == (0.5, 0.9, 1.5, 4)


def test_every_trial_has_the_same_subset_of_training_images(images):
    rows = subset(CONFIG, SEARCH, images)
    assert len(set(rows.tolist())) == 64 and set(rows) < set(images.rows("train")) and (np.diff(rows) > 0).all()
    assert (rows == subset(CONFIG, replace(SEARCH, trials=3), images)).all()
    assert (rows != subset(CONFIG, replace(SEARCH, seed=1), images)).any()
    assert (subset(CONFIG, replace(SEARCH, images=1000), images) == images.rows("train")).all()


def test_a_trial_learns_and_reports_every_epoch(images):
    config = candidate_config(CONFIG, replace(SEARCH, epochs=12), {})
    rows = list(EncoderTrial(config, images, images.rows("train")).epochs())
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["macro_f1"] > 0.8 > rows[0]["macro_f1"]
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[0]["val_images"] == 30


def test_micro_batches_and_recomputation_do_not_change_a_trial(images):
    config = candidate_config(CONFIG, SEARCH, {})
    whole = next(EncoderTrial(config, images, subset(CONFIG, SEARCH, images)).epochs())
    rows = subset(CONFIG, SEARCH, images)
    parts = next(EncoderTrial(config, images, rows, micro_batch_size=4, recompute_activations=True, num_workers=2).epochs())
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5) and parts["val_loss"] == pytest.approx(whole["val_loss"], rel=1e-4)


def test_a_trial_in_bf16_differs_by_its_rounding_only(images):
    config = candidate_config(CONFIG, SEARCH, {})
    exact, rounded = (
        next(EncoderTrial(replace(config, precision=name), images, subset(CONFIG, SEARCH, images)).epochs()) for name in ("float32", "bf16")
    )
    assert exact["loss"] != rounded["loss"] == pytest.approx(exact["loss"], rel=0.05)


def test_a_trial_whose_loss_is_infinite_ends_with_the_reason(images):
    config = candidate_config(CONFIG, SEARCH, {"optim.lr": 1e38})
    assert list(EncoderTrial(config, images, subset(CONFIG, SEARCH, images)).epochs()) == [{"epoch": 1, "reason": "the loss is not finite"}]


def test_stronger_augmentation_changes_the_pixels_and_none_leaves_only_the_crop(images):
    def pixels(strength):
        trial = EncoderTrial(candidate_config(CONFIG, SEARCH, {"augment.strength": strength}), images, images.rows("train"))
        return trial.task.micro_batches(0)[0].pixels

    assert not torch.equal(pixels(0.0), pixels(1.0)) and not torch.equal(pixels(1.0), pixels(2.0))
    assert torch.equal(pixels(0.5), pixels(0.5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trials": 0}, r"search\.trials=0 must be at least 1"),
        ({"grace_epochs": 5, "epochs": 4}, r"search\.grace_epochs=5 must not exceed epochs=4"),
        ({"reduction": 1}, r"search\.reduction=1"),
    ],
)
def test_impossible_searches_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        EncoderSearchConfig(**settings)
    with pytest.raises(ConfigError, match="need a value each"):
        EncoderSearchSpaceConfig(layer_decay=())


@pytest.mark.parametrize("reduction", [2, 3, 16])
def test_the_expected_epochs_are_those_of_rays_scheduler_on_trials_in_random_order(reduction):
    search = EncoderSearchConfig(trials=16, epochs=6, grace_epochs=1, reduction=reduction)
    counted = [epochs_of_asha(search, np.random.default_rng(seed)) for seed in range(200)]
    assert expected_epochs(search) == pytest.approx(np.mean(counted), rel=0.05)
    assert expected_epochs(replace(search, grace_epochs=6)) == 16 * 6
    assert expected_epochs(replace(search, trials=1)) == 6


def epochs_of_asha(search, rng):
    """Epochs of all trials with Ray Tune's scheduler, where their scores are random and they reach each rung in random order."""
    scheduler = ASHAScheduler(
        time_attr="epoch", metric="score", mode="max", max_t=search.epochs, grace_period=search.grace_epochs, reduction_factor=search.reduction
    )
    (bracket,) = scheduler._brackets
    alive, total = list(range(search.trials)), 0
    for epoch in range(1, search.epochs + 1):
        total += len(alive)
        rng.shuffle(alive)
        alive = [trial for trial in alive if bracket.on_result(SimpleNamespace(trial_id=trial), epoch, rng.random()) == "CONTINUE"]
    return total
