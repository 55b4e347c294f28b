"""Final models of several seeds: probabilities are averaged, in the scores, in prediction, and after they were saved and loaded."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from abaw_ray.core.errors import ConfigError
from abaw_ray.fusion.checkpoint import METADATA_FILE, load_fusion, save_fusion
from abaw_ray.fusion.config import FusionConfig, SweepConfig, with_seeds
from abaw_ray.fusion.evaluation.final_seeds import CrossValidationOfSeeds
from abaw_ray.fusion.evaluation.protocols import cv_folds, score_ensemble, score_official_val, train_official
from abaw_ray.fusion.inference import predict_average, predict_logits
from abaw_ray.fusion.selected import select

CONFIG = FusionConfig(hidden_dim=16, epochs=2, batch_size=128, seed=3)


@pytest.fixture(scope="module")
def official(frames):
    return train_official(frames, CONFIG, 2, seeds=3)


@pytest.fixture(scope="module")
def of_seeds(frames, folds):
    trained = CrossValidationOfSeeds(lambda config: cv_folds(frames, folds, config), CONFIG, 2)
    trained.train(2)
    return trained


def mean_probability(outputs):
    return np.mean([softmax(logits, axis=1) for logits, _ in outputs], axis=0)


def test_each_seed_is_the_model_trained_with_it_alone(frames, official):
    assert [model.config.seed for model in official.models] == [3, 1003, 2003]
    for config, model in zip(with_seeds(CONFIG, 3), official.models, strict=True):
        alone = train_official(frames, config, 2).model.state_dict()
        assert all((alone[name] == value).all() for name, value in model.state_dict().items())


def test_the_score_is_that_of_the_mean_probability(frames, official):
    rows, logits, gate = score_official_val(official, frames)
    single = [predict_logits(replace(official, model=model, other_seeds=()), frames, rows) for model in official.models]
    np.testing.assert_allclose(softmax(logits, axis=1), mean_probability(single), atol=1e-6)
    np.testing.assert_allclose(gate, np.mean([one for _, one in single], axis=0), atol=1e-6)


def test_the_seeds_are_saved_and_loaded(frames, official, tmp_path):
    save_fusion(tmp_path, official)
    loaded = load_fusion(tmp_path)
    assert [model.config for model in loaded.models] == [model.config for model in official.models]
    for one, two in zip(predict_logits(official, frames), predict_logits(loaded, frames), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_model_saved_before_there_were_seeds_is_loaded(frames, tmp_path):
    trained = train_official(frames, CONFIG, 1)
    save_fusion(tmp_path, trained)
    metadata = tmp_path / METADATA_FILE
    metadata.write_text(metadata.read_text().replace('"seeds"', '"unused"'))
    loaded = load_fusion(tmp_path)
    assert loaded.other_seeds == () and loaded.model.config == CONFIG


def test_out_of_fold_scores_are_those_of_the_mean_probability_of_the_seeds(frames, folds, of_seeds):
    logits, gate = of_seeds.logits(0, 2)
    parts = [part.logits(0, 2) for part in of_seeds.parts]
    scored = np.isfinite(logits).all(axis=1)
    assert scored.any() and (scored == np.isfinite(parts[0][0]).all(axis=1)).all()
    np.testing.assert_allclose(softmax(logits[scored], axis=1), mean_probability(parts)[scored], atol=1e-6)
    for fold, model in enumerate(of_seeds.models(0, 2)):
        rows = np.flatnonzero((of_seeds.fold_of_row == fold) & scored)
        np.testing.assert_allclose(predict_logits(model, frames)[0][rows], logits[rows], atol=1e-5)
        np.testing.assert_allclose(gate[rows], predict_logits(model, frames)[1][rows], atol=1e-5)


def test_everything_is_selected_on_the_average(of_seeds):
    selected = select(of_seeds, 0, SweepConfig(fusion=CONFIG, final_seeds=2), default=0)
    counts = np.sum([part.counts(0) for part in of_seeds.parts], axis=0)
    assert counts.shape[0] == 2 and selected.epochs == of_seeds.epochs(0)
    np.testing.assert_array_equal(selected.logits, of_seeds.logits(0, selected.epochs.final)[0])


def test_one_seed_is_the_plain_cross_validation(frames, folds):
    plain, one = cv_folds(frames, folds, CONFIG), CrossValidationOfSeeds(lambda config: cv_folds(frames, folds, config), CONFIG, 1)
    plain.train(1)
    one.train(1)
    np.testing.assert_array_equal(plain.logits(0, 1)[0], one.logits(0, 1)[0])
    assert plain.epochs(0) == one.epochs(0)


def test_every_model_of_an_ensemble_counts_alike_with_all_its_seeds(frames, official):
    new = frames.subject_names("val")
    other = train_official(frames, replace(CONFIG, seed=9), 1)
    rows, logits, _ = score_ensemble([official, other], frames, new)
    singles = [predict_logits(replace(other, model=model), frames, rows) for model in (*official.models, other.model)]
    np.testing.assert_allclose(softmax(logits, axis=1), mean_probability(singles), atol=1e-6)
    np.testing.assert_array_equal(predict_average([official, other], frames, rows)[0], logits)


def test_fewer_than_one_seed_is_refused():
    with pytest.raises(ConfigError, match=r"sweep.final_seeds=0 must be at least 1"):
        SweepConfig(final_seeds=0)
